// The drivers of faults, in short: a few kills, a full disk, some hundred connections. `make faults`
// runs them at length. Needs `make build`.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { run, succeeds, tidyUp } from "../service.mjs";

const patient = { timeout: 600_000 };
after(tidyUp);

test("nothing acknowledged is lost, doubled or out of order over kills under load", patient, async (t) => {
  const output = await succeeds(run("faults/kills.mjs", "--rounds", "3"));
  t.diagnostic(output.trim().split("\n").at(-1));
  assert.match(output, /3 kills: acknowledged [1-9]\d*, lost 0, doubled 0, out of order 0/);
});

test("a full disk refuses what it cannot keep, and loses nothing", patient, async (t) => {
  const { status, output } = await run("faults/full-disk.mjs").done;
  t.diagnostic(output.trim().split("\n").at(-1));
  if (status === 77) return t.skip(output.trim());
  assert.equal(status, 0, output);
});

test("connections that come and go leave no memory behind", patient, async (t) => {
  const output = await succeeds(run("faults/connections.mjs", "--cycles", "1000"));
  t.diagnostic(output.trim().split("\n").at(-1));
});
