#!/usr/bin/env bash
# Brings what the build needs, and only what is missing: quick when all is there.
#
#   setup.sh [rust] [node] [deny]
#
#   rust   the toolchain and targets that rust-toolchain.toml names
#   node   the packages of package-lock.json, Node itself among them
#   deny   cargo-deny, compiled once for all clones; only `make audit` needs it
#
# Called by the Makefile, which sets TOOLS and CARGO_DENY_VERSION.
# Must not change anything outside the clone, rustup's own directory and $TOOLS.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "parlance: $*"; }
fail() { printf '%s\n' "parlance: $*" >&2; exit 1; }

# The value of `key = "x"` or `key = ["x", "y"]` in rust-toolchain.toml, as words.
toolchain_value() {
  sed -n "s/^$1 = //p" rust-toolchain.toml | tr -d '[]",'
}

setup_rust() {
  command -v rustup >/dev/null || fail "rustup is missing. It installs the pinned Rust toolchain;
  get it from https://rustup.rs (or your system's package manager), then run this again."
  local channel targets target missing=()
  channel=$(toolchain_value channel)
  targets=$(toolchain_value targets)
  if ! rustup run "$channel" rustc --version >/dev/null 2>&1; then
    say "installing Rust $channel (about a minute)"
    rustup toolchain install "$channel" --profile minimal
  fi
  local sysroot
  sysroot=$(rustup run "$channel" rustc --print sysroot)
  for target in $targets; do
    [[ -d "$sysroot/lib/rustlib/$target/lib" ]] || missing+=("$target")
  done
  if ((${#missing[@]})); then
    say "adding the Rust targets ${missing[*]}"
    rustup target add --toolchain "$channel" "${missing[@]}"
  fi
  missing=()
  [[ -x "$sysroot/bin/cargo-clippy" ]] || missing+=(clippy)
  [[ -x "$sysroot/bin/cargo-fmt" ]] || missing+=(rustfmt)
  if ((${#missing[@]})); then
    say "adding the Rust components ${missing[*]}"
    rustup component add --toolchain "$channel" "${missing[@]}"
  fi
}

# Puts the pinned Node first on the path that the Makefile sets. npm 10 forgets this link when it
# drops the packages with the Nodes of other platforms. Where there is no package for this
# platform, the machine's own Node serves, if it is new enough.
link_node() {
  local own pinned=(node_modules/node-*/bin/node)
  if [[ -x ${pinned[0]} ]]; then
    ln -sf "../${pinned[0]#node_modules/}" node_modules/.bin/node
    return
  fi
  own=$(command -v node) || fail "this platform needs its own Node, 22.12 or newer"
  "$own" -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 22 || (major === 22 && minor >= 12) ? 0 : 1);
  ' || fail "this platform needs its own Node, 22.12 or newer; $("$own" --version) is too old"
  ln -sf "$own" node_modules/.bin/node
}

setup_node() {
  local stamp=node_modules/.installed-package-lock.json
  if cmp -s package-lock.json "$stamp" && [[ -x node_modules/.bin/node ]]; then
    return
  fi
  command -v npm >/dev/null || fail "npm is missing. It comes with Node (any version from 18 on will
  do: the Node that runs is the pinned one from package.json); install it, then run this again."
  say "installing the npm packages (about ten seconds)"
  # Warnings are only about the Node that runs npm, which is not the one that will be used.
  npm ci --loglevel=error
  link_node
  cp package-lock.json "$stamp"
}

setup_deny() {
  local home="$TOOLS/cargo-deny-$CARGO_DENY_VERSION"
  if [[ -x "$home/bin/cargo-deny" ]]; then
    return
  fi
  say "compiling cargo-deny $CARGO_DENY_VERSION: about 6 minutes on two cores, once on this machine"
  local started=$SECONDS partial="$home.partial.$$"
  mkdir -p "$partial"
  # shellcheck disable=SC2064 # the directory is known now
  trap "rm -rf '$partial'" EXIT
  # Nothing of the caller's target directory may be mixed in.
  CARGO_TARGET_DIR="$partial/target" \
    cargo install cargo-deny --version "=$CARGO_DENY_VERSION" --root "$partial" --locked
  rm -rf "$partial/target"
  # Another clone may have been faster: then its copy stays.
  [[ -x "$home/bin/cargo-deny" ]] || { rm -rf "$home"; mv "$partial" "$home"; }
  say "cargo-deny is ready ($((SECONDS - started)) s)"
}

for step in "$@"; do
  case $step in
    rust) setup_rust ;;
    node) setup_node ;;
    deny) setup_deny ;;
    *) fail "unknown step: $step" ;;
  esac
done
