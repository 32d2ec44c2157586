// One server at a time on one state directory.
//
// Files in the state directory:
//   server.json   the server's process and, if it is tied to one, its parent's
//   workerd.pid   "PID START-TIME" of its workerd, written by workerd-tied.sh
//
// Always holds: server.json appears whole and by one process only (a link to a complete
// file); a living server keeps its claim; what a killed one left behind is ended before
// its successor opens the same files. Two workerd on the same SQLite files would each
// believe to be the only writer.

import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { end, identify, isAlive } from "./process-identity.mjs";

const SERVER = "dev.mjs";
const WORKERD = "workerd";

/** The state directory belongs to a living server. */
export class InUse extends Error {}

/** Where workerd-tied.sh notes which process workerd is. */
export function workerdPidFile(stateDir) {
  return join(stateDir, "workerd.pid");
}

/**
 * Claims `stateDir` for this process and returns the function that gives it back. `tied`:
 * this process ends with its parent. `say` is told what was cleaned up.
 *
 * @throws {InUse} if a living server has it
 */
export async function claim(stateDir, { tied, say }) {
  mkdirSync(stateDir, { recursive: true });
  const file = join(stateDir, "server.json");
  const partial = `${file}.${process.pid}`;
  const own = `${JSON.stringify({
    server: identify(process.pid),
    parent: tied ? identify(process.ppid) : undefined,
  })}\n`;
  writeFileSync(partial, own);
  try {
    while (!linked(partial, file)) {
      await clear(stateDir, file, say);
    }
  } finally {
    rmSync(partial, { force: true });
  }
  return () => {
    rmSync(workerdPidFile(stateDir), { force: true });
    rmSync(file, { force: true });
  };
}

function linked(from, to) {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

/** Ends what a killed server left behind and takes its claim away. */
async function clear(stateDir, file, say) {
  const content = read(file);
  if (content === undefined) return;
  const { server, parent } = parse(content);
  if (isAlive(server, SERVER)) {
    if (!parent || isAlive(parent, "")) {
      throw new InUse(
        `${stateDir} is in use by the server with process id ${server.pid}.\n` +
          "Stop that one first, or give this one its own STATE_DIR and PORT.",
      );
    }
    say(`ending the server that a killed run left behind (process ${server.pid})`);
    await end(server, SERVER);
  }
  const [pid, started] = (read(workerdPidFile(stateDir)) ?? "").trim().split(" ");
  const workerd = { pid: Number(pid), started };
  if (isAlive(workerd, WORKERD)) {
    say(`ending the workerd that a killed server left behind (process ${pid})`);
    await end(workerd, WORKERD);
  }
  // Moved, not removed: if another start was faster, what is there now is its claim.
  const moved = `${file}.stale.${process.pid}`;
  try {
    renameSync(file, moved);
  } catch (error) {
    if (error.code === "ENOENT") return;
    throw error;
  }
  if (read(moved) !== content) linked(moved, file);
  rmSync(moved);
}

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

function parse(content) {
  try {
    return JSON.parse(content);
  } catch {
    return {};
  }
}
