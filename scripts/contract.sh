#!/usr/bin/env bash
# Runs the HTTP contract (tests/tests/contract) against each edition, and says how many tests each
# has passed.
#
#   contract.sh [EDITION...]     workers, spin; both where none is named
#
# Needs what `make build` makes. What an edition does not have is declared in tests/src/edition.rs.
set -uo pipefail
cd "$(dirname "$0")/.."

editions=("$@")
((${#editions[@]})) || editions=(workers spin)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

failed=0
summary=()
for edition in "${editions[@]}"; do
  printf 'parlance: the HTTP contract, edition %s\n' "$edition"
  EDITION=$edition cargo test -p parlance-tests --test contract 2>&1 | tee "$log"
  ((PIPESTATUS[0] == 0)) || failed=1
  result=$(sed -n 's/^test result: \(.*\) ignored;.*/\1 ignored/p' "$log" | tail -n 1)
  summary+=("$(printf '%-8s %s' "$edition" "${result:-did not run}")")
done
printf 'parlance: the HTTP contract\n'
printf '  %s\n' "${summary[@]}"
exit "$failed"
