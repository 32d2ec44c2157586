#!/usr/bin/env bash
# Serves the Spin edition, as it was built: by `spin` where it is installed, else by the host of
# tests/spin-host.
#
#   spin.sh        (through `make spin`, which builds first)
#
# Environment:
#   PORT       3000; 0 takes any free one (not with `spin`)
#   STATE_DIR  .state/spin: the database
#   VARS       "NAME=value NAME2=value2": win over .dev.vars
#   SPIN       the `spin` to use; empty for none
#
# Must not let anything outlive it: it becomes the host itself, and with `spin` it ends what it
# started.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "parlance: $*"; }
fail() { printf '%s\n' "parlance: $*" >&2; exit 1; }

port=${PORT:-3000}
state=${STATE_DIR:-.state/spin}
[[ $port =~ ^[0-9]+$ ]] && ((port <= 65535)) ||
  fail "PORT must be a number from 0 to 65535, not \"$port\""
[[ -e .dev.vars ]] || fail ".dev.vars is missing. Use \`make spin\`."
read -r -a vars <<<"${VARS:-}"
for pair in ${vars[@]+"${vars[@]}"}; do
  [[ $pair =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] ||
    fail "VARS must be like \"NAME=value NAME2=value2\"; \"$pair\" is not"
done
mkdir -p "$state"

if [[ -z ${SPIN-$(command -v spin || true)} ]]; then
  options=()
  for pair in ${vars[@]+"${vars[@]}"}; do options+=(--variable "$pair"); done
  exec functions/spin/build/spin-host --listen "127.0.0.1:$port" --database "$state/parlance.db" \
    --variables-file .dev.vars ${options[@]+"${options[@]}"} --stop-with-parent --hint \
    functions/spin/build/parlance_spin.wasm
fi

# Spin takes its variables from the environment.
set_variable() { export "SPIN_VARIABLE_$(tr '[:lower:]' '[:upper:]' <<<"$1")=$2"; }
token=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
set_variable MAINTENANCE_TOKEN "$token"
while IFS='=' read -r name value; do
  [[ -z $name || $name == \#* ]] && continue
  value=${value#\"}
  set_variable "$name" "${value%\"}"
done <.dev.vars
for pair in ${vars[@]+"${vars[@]}"}; do set_variable "${pair%%=*}" "${pair#*=}"; done

url=http://127.0.0.1:$port
started=()
trap 'kill ${started[@]+"${started[@]}"} 2>/dev/null || true' EXIT
trap 'exit 0' INT TERM HUP
"${SPIN:-spin}" up --from spin.toml --listen "127.0.0.1:$port" --state-dir "$state" &
started+=($!)
# The timer. The token goes by standard input, where no list of processes shows it.
while sleep 1; do
  printf 'header = "authorization: Bearer %s"\n' "$SPIN_VARIABLE_MAINTENANCE_TOKEN" |
    curl -s -o /dev/null -m 10 -X POST -K - "$url/internal/maintenance" || true
done &
started+=($!)
say "Spin serves $url. Ctrl-C stops it; what it stored stays in $state."
wait "${started[0]}"
