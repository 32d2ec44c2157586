// Runs the foreign client against the built service: in peace, and over kills in mid-traffic.
// Needs `make build`. Every server has a state directory of its own.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { directory, run as runClient, start, succeeds, tidyUp } from "./service.mjs";

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const run = (...args) => runClient("foreign-client.mjs", ...args);
after(tidyUp);

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
