#!/usr/bin/env bash
# Looks at everything that is depended on (`make audit`): licences and sources by deny.toml, known
# flaws where the database of advisories can be had, and the signatures of the npm packages.
#
#   ADVISORY_DB  the address of a git repository that holds RustSec's database, where the usual
#                one cannot be reached
#
# What cannot be reached is told, and is no failure; what is found is one. Needs what
# `setup.sh node deny` brings.
set -uo pipefail
cd "$(dirname "$0")/.."

say() { printf 'parlance: %s\n' "$*"; }
deny() { "$TOOLS/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny" --log-level warn "$@"; }

failed=0
config=$(mktemp)
trap 'rm -f "$config"' EXIT
sed "s|^db-urls = .*|db-urls = [\"${ADVISORY_DB:-https://github.com/rustsec/advisory-db}\"]|" deny.toml >"$config"

deny check --config "$config" bans licenses sources || failed=1

if output=$(deny check --config "$config" advisories 2>&1); then
  printf '%s\n' "$output"
elif grep -q 'advisory database' <<<"$output" && ! grep -qE '^(error|warning)\[' <<<"$output"; then
  say "skipped: the database of advisories cannot be reached from here"
else
  printf '%s\n' "$output"
  failed=1
fi

if output=$(npm audit signatures 2>&1); then
  printf '%s\n' "$output"
elif grep -qE 'ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|E40[0-9]' <<<"$output"; then
  say "skipped: the registry does not give its signatures here"
else
  printf '%s\n' "$output"
  failed=1
fi

((failed)) || say "nothing was found"
exit "$failed"
