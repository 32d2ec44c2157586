#!/usr/bin/env bash
# Looks at everything that is depended on (`make audit`): licences and sources by deny.toml, known
# flaws where RustSec's database of advisories can be had, and the signatures of the npm packages.
#
# What cannot be reached is told, and is no failure; what is found is one. Where the database cannot
# be fetched, one that an earlier run left in Cargo's home is used, and its age is told.
# Needs what `setup.sh node deny` brings.
set -uo pipefail
cd "$(dirname "$0")/.."

say() { printf 'parlance: %s\n' "$*"; }
deny() { "$TOOLS/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny" --log-level warn "$@"; }

failed=0
deny check bans licenses sources || failed=1

databases=${CARGO_HOME:-$HOME/.cargo}/advisory-dbs
if deny fetch db >/dev/null 2>&1; then
  deny --offline check advisories || failed=1
elif compgen -G "$databases/*/.git" >/dev/null; then
  for database in "$databases"/*/; do
    say "the database of advisories cannot be reached; using that of $(git -C "$database" log -1 --format=%cs)"
  done
  deny --offline check advisories || failed=1
else
  say "skipped: the database of advisories cannot be reached from here"
fi

# It asks for the packages' metadata one by one, and waits for a registry that does not answer.
if output=$(timeout 300 npm audit signatures 2>&1); then
  printf '%s\n' "$output"
elif (($? == 124)) || grep -qE 'ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|E40[0-9]' <<<"$output"; then
  say "skipped: the registry does not give its signatures here"
else
  printf '%s\n' "$output"
  failed=1
fi

((failed)) || say "nothing was found"
exit "$failed"
