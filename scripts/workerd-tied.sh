#!/bin/sh
# Starts workerd so that it does not outlive the server that started it.
#
# Miniflare runs this instead of workerd (MINIFLARE_WORKERD_PATH, set by dev.mjs).
#   PARLANCE_WORKERD           the real program
#   PARLANCE_WORKERD_PID_FILE  gets "PID START-TIME" before workerd runs, so that a later
#                              start can find an orphan (scripts/state-claim.mjs)
# The process keeps its id through every exec below.

# Field 22 of proc(5), when the kernel has it; counted after the name, which may hold spaces.
start_time() {
  read -r stat <"/proc/$1/stat" || return
  # shellcheck disable=SC2086 # split into words on purpose
  set -- ${stat##*) }
  echo "${20}"
}

echo "$$ $(start_time $$ 2>/dev/null)" >"$PARLANCE_WORKERD_PID_FILE"

# Ctrl-C reaches every process of the terminal: ending workerd is the server's business.
trap '' INT

# Where the kernel can, it kills workerd together with the server, even on SIGKILL.
if setpriv --pdeathsig KILL true 2>/dev/null; then
  exec setpriv --pdeathsig KILL "$PARLANCE_WORKERD" "$@"
fi
exec "$PARLANCE_WORKERD" "$@"
