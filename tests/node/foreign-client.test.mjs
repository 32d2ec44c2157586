// Runs the foreign client against the built service: in peace, and over kills in mid-traffic.
// Needs `make build`. Every server has a state directory of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

const root = resolve(import.meta.dirname, "../..");
const client = join(import.meta.dirname, "foreign-client.mjs");
const secret = () => randomBytes(32).toString("base64url");
/** How long a server may take to start, in ms. */
const START = 120_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const vars = [
  `TOKEN_KEYS=foreign:${secret()}`,
  `PHONE_HASH_KEY=${secret()}`,
  "DEVELOPMENT=1",
  "CODE_PROVIDER=dev",
  "RATE_LIMIT_SCALE=0",
].join(" ");

const servers = new Set();
const directories = [];
after(async () => {
  for (const server of servers) await server.kill();
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function directory() {
  const path = mkdtempSync(join(tmpdir(), "parlance-foreign-"));
  directories.push(path);
  return path;
}

/** Starts the service on a state directory, and gives its address and a way to kill it. */
async function start(state, port = "0") {
  assert.ok(existsSync(join(root, "functions/worker/build")), "run `make build` first");
  const env = { ...process.env, PORT: port, STATE_DIR: state, VARS: vars, QUIET: "1", STOP_WITH_PARENT: "1" };
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

/** Starts the client; `done` is its exit status and what it printed. */
function run(...args) {
  const child = spawn(process.execPath, [client, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output += text));
  }
  const done = once(child, "close").then(([status]) => ({ status, output }));
  return { child, done };
}

async function succeeds(running) {
  const { status, output } = await running.done;
  assert.equal(status, 0, output);
  return output;
}

/** Waits until the client has recorded so many acknowledgements. */
async function recorded(file, count, running) {
  for (;;) {
    const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n").length : 0;
    if (lines > count) return;
    const ended = await Promise.race([running.done, sleep(10)]);
    assert.equal(ended, undefined, `the client ended before it was disturbed: ${ended?.output}`);
  }
}

const patient = { timeout: 300_000 };

test("two people at full speed see one order without a gap", patient, async (t) => {
  const server = await start(directory());
  t.diagnostic(await succeeds(run(server.url, "--messages", "300")));
  await server.kill();
});

test("every acknowledged message survives a kill in mid-traffic", patient, async (t) => {
  const state = directory();
  const file = join(directory(), "acks");
  let server = await start(state);
  const talking = run(server.url, "--crash-check", file);
  await recorded(file, 500, talking);
  await server.kill();
  t.diagnostic(await succeeds(talking));
  server = await start(state);
  t.diagnostic(await succeeds(run(server.url, "--verify", file)));
  await server.kill();
});

test("a client that reconnects after a kill sends nothing twice and loses nothing", patient, async (t) => {
  const state = directory();
  const file = join(directory(), "acks");
  let server = await start(state);
  const talking = run(server.url, "--messages", "5000", "--record", file);
  await recorded(file, 500, talking);
  await server.kill();
  // The client goes on asking at the address that it knows.
  server = await start(state, new URL(server.url).port);
  const told = await succeeds(talking);
  assert.doesNotMatch(told, / 0 reconnects/, "the kill came in mid-traffic");
  t.diagnostic(told);
  await server.kill();
});
