// What the tests of the foreign clients share: the built service as a process, with a state
// directory of its own, and clients as processes. Needs `make build`.
//
// What always holds: after `tidyUp` no server, client or directory is left.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const secret = () => randomBytes(32).toString("base64url");
/** How long a server may take to start, in ms. */
const START = 300_000;

const vars = [
  `TOKEN_KEYS=foreign:${secret()}`,
  `PHONE_HASH_KEY=${secret()}`,
  "DEVELOPMENT=1",
  "CODE_PROVIDER=dev",
  "RATE_LIMIT_SCALE=0",
].join(" ");

const servers = new Set();
const clients = new Set();
const directories = [];

/** Ends and removes everything that was made here, but for the directories that are to be kept. */
export async function tidyUp({ keep = [] } = {}) {
  for (const client of clients) client.kill("SIGKILL");
  for (const server of servers) await server.kill();
  for (const path of directories) {
    if (!keep.includes(path)) rmSync(path, { recursive: true, force: true });
  }
}

export function directory() {
  const path = mkdtempSync(join(tmpdir(), "parlance-foreign-"));
  directories.push(path);
  return path;
}

/**
 * Starts the service on a state directory, and gives its address and a way to kill it. `main`: the
 * entry of another build than the one that is deployed.
 */
export async function start(state, port = "0", { main } = {}) {
  assert.ok(existsSync(join(root, "functions/worker/build")), "run `make build` first");
  const env = { ...process.env, PORT: port, STATE_DIR: state, VARS: vars, QUIET: "1", STOP_WITH_PARENT: "1" };
  if (main) env.MAIN = main;
  // A process group of its own: the kill takes all of it at once.
  const child = spawn(process.execPath, ["scripts/dev.mjs"], { cwd: root, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close");
  let output = "";
  const server = {
    async kill() {
      servers.delete(server);
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch (error) {
        if (error.code !== "ESRCH") throw error;
      }
      await ended;
    },
  };
  servers.add(server);
  const url = new Promise((found) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        const match = /^Parlance is running on (http:\S+)$/m.exec(output);
        if (match) found(match[1]);
      });
    }
  });
  const late = setTimeout(() => server.kill(), START);
  server.url = await Promise.race([url, ended.then(() => null)]);
  clearTimeout(late);
  assert.ok(server.url, `the server did not start:\n${output}`);
  return server;
}

/** Starts a client of this directory; `done` is its exit status and what it printed. */
export function run(script, ...args) {
  const path = join(import.meta.dirname, script);
  const child = spawn(process.execPath, [path, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  clients.add(child);
  // One that has ended reads nothing more; how it ended is in `done`.
  child.stdin.on("error", () => {});
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output += text));
  }
  const done = once(child, "close").then(([status]) => {
    clients.delete(child);
    return { status, output };
  });
  return { child, done };
}

/** What a client printed that must end well. */
export async function succeeds(running) {
  const { status, output } = await running.done;
  assert.equal(status, 0, output);
  return output;
}
