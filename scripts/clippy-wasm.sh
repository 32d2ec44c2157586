#!/usr/bin/env bash
# Clippy for the crates that run at the edge, as they are compiled there.
#
#   clippy-wasm.sh TARGET CRATE_DIRECTORY...
set -euo pipefail
cd "$(dirname "$0")/.."

target=$1
shift
packages=()
for directory in "$@"; do
  packages+=(-p "$(sed -n 's/^name = "\(.*\)"/\1/p' "$directory/Cargo.toml" | head -n 1)")
done
set -x
cargo clippy --target "$target" "${packages[@]}" -- -D warnings
