// The development server (scripts/dev.mjs) as a process: what it says, when it refuses, and
// that nothing it started outlives it. Needs `make build`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { identify, isAlive } from "../../scripts/process-identity.mjs";

const root = resolve(import.meta.dirname, "../..");
const RUNNING = /^Parlance is running on (http:\/\/127\.0\.0\.1:\d+)$/m;

/** A state directory and servers, all gone when the test is over. */
function setUp(t) {
  const stateDir = mkdtempSync(join(tmpdir(), "parlance-dev-"));
  const servers = [];
  t.after(async () => {
    for (const server of servers) {
      server.kill("SIGTERM");
      await server.gone;
    }
    rmSync(stateDir, { recursive: true, force: true });
  });
  return {
    stateDir,
    start(env = {}) {
      const server = spawn(process.execPath, ["scripts/dev.mjs"], {
        cwd: root,
        env: { ...process.env, PORT: "0", VARS: "", QUIET: "1", STATE_DIR: stateDir, ...env },
        stdio: ["ignore", "pipe", "pipe"],
      });
      server.gone = once(server, "close");
      server.text = { stdout: "", stderr: "" };
      for (const name of ["stdout", "stderr"]) {
        server[name].setEncoding("utf8").on("data", (chunk) => (server.text[name] += chunk));
      }
      servers.push(server);
      return server;
    },
    workerd() {
      const [pid, started] = readFileSync(join(stateDir, "workerd.pid"), "utf8").trim().split(" ");
      return { pid: Number(pid), started };
    },
  };
}

/** The server's address, as soon as it has printed it. */
async function url(server) {
  while (!RUNNING.test(server.text.stdout)) {
    assert.equal(server.exitCode ?? server.signalCode, null, server.text.stderr);
    await sleep(20);
  }
  return server.text.stdout.match(RUNNING)[1];
}

test("SIGTERM stops the server with exit code 0, and workerd with it", async (t) => {
  const { start, workerd } = setUp(t);
  const server = start();
  await fetch(await url(server));
  const runtime = workerd();
  assert.ok(isAlive(runtime, "workerd"));
  server.kill("SIGTERM");
  assert.deepEqual(await server.gone, [0, null]);
  assert.ok(!isAlive(runtime, "workerd"));
});

test("a second server on the same state is refused, and the first goes on", async (t) => {
  const { start } = setUp(t);
  const address = await url(start());
  const second = start();
  assert.deepEqual(await second.gone, [1, null]);
  assert.match(second.text.stderr, /is in use by the server with process id \d+/);
  await fetch(address);
});

test("a port that is taken is named", async (t) => {
  const { start, stateDir } = setUp(t);
  const { port } = new URL(await url(start()));
  const second = start({ PORT: port, STATE_DIR: join(stateDir, "other") });
  assert.deepEqual(await second.gone, [1, null]);
  assert.match(second.text.stderr, new RegExp(`port ${port} is taken`));
});

test("after SIGKILL the next server takes over at once, and one workerd is left", async (t) => {
  const { start, workerd } = setUp(t);
  const first = start();
  await url(first);
  const orphan = workerd();
  first.kill("SIGKILL");
  await first.gone;
  await fetch(await url(start()));
  assert.ok(!isAlive(orphan, "workerd"));
  assert.ok(isAlive(workerd(), "workerd"));
});

test("a foreign process that got a recorded id is never touched", async (t) => {
  const { start, stateDir } = setUp(t);
  const foreign = spawn("sleep", ["60"]);
  t.after(() => foreign.kill());
  const { pid, started } = identify(foreign.pid);
  const server = { pid, started };
  writeFileSync(join(stateDir, "server.json"), JSON.stringify({ server }));
  writeFileSync(join(stateDir, "workerd.pid"), `${pid} ${started}\n`);
  await url(start());
  assert.equal(foreign.exitCode ?? foreign.signalCode, null);
});
