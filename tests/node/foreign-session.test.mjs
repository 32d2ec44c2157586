// Runs the session client against the built service: in peace, and with a SIGKILL of the server
// before every step. Needs `make build`.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { after, test } from "node:test";

import { directory, run, start, succeeds, tidyUp } from "./service.mjs";

after(tidyUp);

const patient = { timeout: 600_000 };

test("two devices and one that was offline see the same, and unread counts are right", patient, async (t) => {
  const server = await start(directory());
  t.diagnostic(await succeeds(run("foreign-session.mjs", server.url)));
  await server.kill();
});

test("nothing is lost where the server is killed between any two steps", patient, async (t) => {
  const state = directory();
  let server = await start(state);
  // The client goes on asking at the address that it knows.
  const { port } = new URL(server.url);
  const playing = run("foreign-session.mjs", server.url, "--kill");
  let kills = 0;
  for await (const line of createInterface({ input: playing.child.stdout })) {
    if (!line.startsWith("STEP ")) continue;
    await server.kill();
    server = await start(state, port);
    kills += 1;
    playing.child.stdin.write("go on\n");
  }
  t.diagnostic(await succeeds(playing));
  assert.ok(kills >= 9, `killed ${kills} times`);
  await server.kill();
});
