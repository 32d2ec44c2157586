// Frames that a client compresses (RFC 7692): what they unpack to is bounded, whether or not the
// runtime takes them at all. Needs `make build`.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import WebSocket from "ws";

import { expect, signUp } from "./http.mjs";
import { directory, start, tidyUp } from "./service.mjs";

/** The largest frame that the protocol allows, in bytes. */
const FRAME_BYTES = 128 * 1024;
after(tidyUp);

function open(base, path, token) {
  const socket = new WebSocket(`${base.replace(/^http/, "ws")}/api/v1${path}`, {
    headers: { authorization: `Bearer ${token}` },
    perMessageDeflate: { threshold: 0 },
  });
  const frames = [];
  socket.on("message", (data) => {
    const frame = JSON.parse(String(data));
    frames.push(...(frame.type === "batch" ? frame.frames : [frame]));
  });
  const closed = new Promise((done) => socket.on("close", (code) => done(code)));
  socket.on("error", () => {});
  return new Promise((done) => socket.on("open", () => done({ socket, frames, closed })));
}

test("a frame that is small on the wire and large unpacked ends its socket and nothing else", { timeout: 120_000 }, async (t) => {
  const server = await start(directory());
  const [ann, bob] = [await signUp(server.url), await signUp(server.url)];
  const body = { type: "direct", member_ids: [bob.user_id] };
  const { conversation_id: id } = await expect([201], server.url, "POST", "/conversations", { token: ann.token, body });
  const frame = (content) =>
    JSON.stringify({ type: "send_message", conversation_id: id, client_msg_id: randomUUID(), content, content_type: "encrypted" });
  for (const path of ["/ws", `/conversations/${id}/ws`]) {
    const { socket, frames, closed } = await open(server.url, path, ann.token);
    t.diagnostic(`${path}: extensions: ${socket.extensions || "none"}`);
    for (const size of [FRAME_BYTES + 1, 64 * 1024 * 1024]) {
      const other = await open(server.url, path, bob.token);
      other.socket.send(frame("x".repeat(size)));
      const code = await other.closed;
      assert.ok([4000, 1009, 1006].includes(code), `${size} bytes ended with ${code}`);
    }
    // The other's socket, and the server, are as they were.
    socket.send(frame("small"));
    for (const deadline = Date.now() + 30_000; !frames.some((one) => one.type === "msg_ack"); ) {
      assert.ok(Date.now() < deadline, `no acknowledgement on ${path}`);
      await new Promise((done) => setTimeout(done, 20));
    }
    socket.terminate();
    await closed;
  }
  const log = await expect([200], server.url, "GET", `/conversations/${id}/events`, { token: ann.token });
  assert.equal(log.head_seq, 2, "only the small ones are kept");
  await server.kill();
});
