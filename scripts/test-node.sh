#!/usr/bin/env bash
# Runs the tests that are written for Node: clients that share no code with the product.
set -euo pipefail
cd "$(dirname "$0")/.."

shopt -s nullglob globstar
tests=(tests/node/**/*.test.mjs)
if ((${#tests[@]})); then
  exec node --test "${tests[@]}"
fi
