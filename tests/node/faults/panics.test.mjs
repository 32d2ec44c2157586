// A panic in one object: what was acknowledged stays, what was not is not half there, and everyone
// goes on after the instance has begun anew. The Worker is tests/test-worker, which `make test`
// builds: the deployed one, but that a stored text can ask for a panic.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

import { Device } from "../device.mjs";
import { expect, readLog, signUp } from "../http.mjs";
import { directory, start, tidyUp } from "../service.mjs";

/** The build that is struck; `make faults` names the one with which the deployed Worker is built. */
const BUILD = process.env.TEST_WORKER ?? "tests/test-worker/build/dev";
const MARK = "parlance-injected-fault:";
const root = resolve(import.meta.dirname, "../../..");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
after(tidyUp);

/** How long a client waits for an answer before it asks again, in ms. */
const ANSWER = 8_000;

/**
 * Asks. A panic takes the whole instance with it, and the edge with what it was about to answer: the
 * runtime then says 500 in its own words, or nothing at all, which counts as 503 here.
 */
async function post(base, token, path, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const signal = AbortSignal.timeout(ANSWER);
  try {
    const response = await fetch(`${base}/api/v1${path}`, { method: "POST", headers, signal, body: JSON.stringify(body) });
    const text = await response.text();
    return { status: response.status, text, body: text.startsWith("{") ? JSON.parse(text) : null };
  } catch (error) {
    return { status: 503, text: String(error), body: null };
  }
}

/** Two people and their direct conversation. */
async function pair(base) {
  const [one, other] = [await signUp(base), await signUp(base)];
  const body = { type: "direct", member_ids: [other.user_id] };
  const made = await expect([201], base, "POST", "/conversations", { token: one.token, body });
  return { one, other, id: made.conversation_id };
}

/** Says something until it is acknowledged, as any client does. */
async function say(base, session, id, content) {
  const client_msg_id = randomUUID();
  for (let tries = 0; ; tries += 1) {
    const reply = await post(base, session.token, `/conversations/${id}/messages`, { client_msg_id, content });
    if (reply.status === 201 || reply.status === 200) return reply.body;
    assert.ok(reply.status >= 500 && tries < 50, `${reply.status} ${reply.text}`);
    await sleep(20);
  }
}

test("no panic can be asked for in what is deployed", () => {
  const has = (path) => readFileSync(join(root, path)).includes(MARK);
  assert.ok(has(`${BUILD}/index_bg.wasm`), "the mark is what is looked for");
  assert.ok(!has("functions/worker/build/index_bg.wasm"));
});

for (const place of ["before", "after"]) {
  test(`a panic ${place} a write harms nobody but the request that asked for it`, { timeout: 300_000 }, async () => {
    const server = await start(directory(), "0", { main: `${BUILD}/index.js` });
    const base = server.url;
    const struck = await pair(base);
    const others = await pair(base);
    const acked = [];
    for (let n = 0; n < 5; n += 1) {
      acked.push(await say(base, struck.one, struck.id, `before ${n}`), await say(base, others.one, others.id, `before ${n}`));
    }
    // A socket of each pair, open all the time.
    const listeners = [new Device(base, struck.other), new Device(base, others.other)];
    for (const listener of listeners) {
      // Where the panic ends its connection, it comes back, as any client does.
      Object.defineProperty(listener, "losing", { get: () => true, set: () => {} });
      await listener.connect();
    }

    for (let round = 0; round < 2; round += 1) {
      const client_msg_id = randomUUID();
      const body = { client_msg_id, content: `${MARK}${place} ${round}` };
      const path = `/conversations/${struck.id}/messages`;
      // Others talk at the same time.
      const [reply, ...talk] = await Promise.all([
        post(base, struck.one.token, path, body),
        ...[0, 1, 2].map((n) => say(base, others.one, others.id, `meanwhile ${round} ${n}`)),
      ]);
      assert.ok(reply.status >= 500, `a panic is told as ${reply.status} ${reply.text}`);
      acked.push(...talk);
      const again = await post(base, struck.one.token, path, body);
      if (again.status === 200) {
        // It had been stored, and only its acknowledgement was lost.
        assert.equal(again.body.duplicate, true);
        acked.push(again.body);
      } else {
        assert.ok(again.status >= 500, `${again.status} ${again.text}`);
      }
      acked.push(await say(base, struck.one, struck.id, `after ${round}`), await say(base, others.one, others.id, `after ${round}`));
    }

    for (const [{ one, id }, listener] of [[struck, listeners[0]], [others, listeners[1]]]) {
      const log = await readLog(base, one.token, id);
      const own = acked.filter((ack) => ack.conversation_id === id);
      for (const ack of own) assert.equal(log[ack.seq - 1]?.message_id, ack.message_id, "acknowledged and lost");
      const names = log.map((event) => event.client_msg_id);
      assert.equal(new Set(names).size, names.length, "a message is there twice");
      if (!listener.connected) await listener.connect();
      await listener.until(() => listener.events.get(id)?.size === log.length, "the receiver to get all");
    }
    for (const listener of listeners) await listener.drop();
    await server.kill();
  });
}
