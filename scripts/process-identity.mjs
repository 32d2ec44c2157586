// Tells whether a recorded process is still that very process.
//
// Process ids are reused. So a process is recorded with its start time, and whoever wants
// to signal it checks the start time and what it runs first: no foreign process is ever
// hit. Must not signal by name.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * What runs as `pid` now: `{ started, command }`, or undefined if nothing does. A zombie is
 * nothing: it holds neither port nor file. `started` is opaque, but the same for the life of
 * a process.
 */
export function lookUp(pid) {
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  if (process.platform !== "linux") return lookUpWithPs(pid);
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return undefined;
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
    return { started: fields[19], command };
  } catch {
    return undefined;
  }
}

function lookUpWithPs(pid) {
  const ps = (field) =>
    execFileSync("ps", ["-p", String(pid), "-o", `${field}=`], { encoding: "utf8" }).trim();
  try {
    if (ps("state").startsWith("Z")) return undefined;
    return { started: ps("lstart"), command: ps("command") };
  } catch {
    return undefined;
  }
}

/** The identity of a living process, to be stored: `{ pid, started }`. */
export function identify(pid) {
  return { pid, started: lookUp(pid)?.started };
}

/**
 * Whether the process recorded as `identity` lives and its command line contains `program`.
 * A record without a start time (a system without /proc) is judged by its command alone.
 */
export function isAlive(identity, program) {
  const now = identity && lookUp(identity.pid);
  if (!now) return false;
  const sameStart = !identity.started || identity.started === now.started;
  return sameStart && now.command.includes(program);
}

/** Ends the recorded process, politely first, and returns when it is gone. */
export async function end(identity, program) {
  for (const [signal, patience] of [["SIGTERM", 3000], ["SIGKILL", 5000]]) {
    const deadline = Date.now() + patience;
    if (!isAlive(identity, program)) return;
    try {
      process.kill(identity.pid, signal);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
    while (isAlive(identity, program)) {
      if (Date.now() > deadline) break;
      await sleep(20);
    }
  }
  if (isAlive(identity, program)) throw new Error(`process ${identity.pid} cannot be ended`);
}
