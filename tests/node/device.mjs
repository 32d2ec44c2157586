// A device on its session socket: the half of a client that sees every conversation on one
// connection. It takes batches apart, sends heartbeats, and checks on every connection that each
// conversation's events come in order and without a gap, however often they come again.

import { randomUUID } from "node:crypto";
import WebSocket from "ws";

import { Violation, check } from "./violation.mjs";

/** How long a device waits for anything to come, in ms. */
export const PATIENCE = 60_000;
/** Event types of a conversation's log that this client knows. */
const EVENTS = new Set(["new_message", "member_added"]);

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export class Device {
  /** conversation -> the last seq that this device has acknowledged. */
  acked = new Map();
  /** conversation -> Map of seq -> event: all that it ever got. */
  events = new Map();
  /** Every other frame, in the order in which they came, over all connections. */
  frames = [];
  connections = 0;
  losing = false;

  /** `acknowledges`: at once, whatever comes; otherwise `ack` does. */
  constructor(base, session, { acknowledges = true } = {}) {
    Object.assign(this, { base, session, acknowledges });
    this.failed = new Promise((_, reject) => (this.fail = reject));
    this.failed.catch(() => {});
  }

  get id() {
    return this.session.user_id;
  }

  get connected() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /**
   * Opens the session, and waits for what was waiting. Gives these events, in order, and
   * `total_unread`. A server that is starting is asked again.
   */
  async connect() {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      try {
        return await this.open();
      } catch (error) {
        if (error instanceof Violation || Date.now() > deadline) throw error;
        await sleep(100);
      }
    }
  }

  open() {
    const url = `${this.base.replace(/^http/, "ws")}/api/v1/ws`;
    const socket = new WebSocket(url, { headers: { authorization: `Bearer ${this.session.token}` } });
    this.socket = socket;
    const opening = { pending: [], greeted: false, complete: false };
    /** conversation -> the last seq of this connection. */
    const last = new Map();
    return new Promise((resolve, reject) => {
      const take = (frame) => {
        if (!opening.greeted) {
          check(frame.type === "auth_ack", () => `the first frame is ${JSON.stringify(frame)}`);
          check(frame.user_id === this.id && frame.device_id === this.session.device_id, "auth_ack names somebody else");
          opening.greeted = true;
          this.beat(socket, frame.heartbeat_seconds);
        } else if (EVENTS.has(frame.type)) {
          this.takeEvent(frame, last);
          if (!opening.complete) opening.pending.push(frame);
        } else if (frame.type === "sync_complete" && !opening.complete) {
          opening.complete = true;
          this.connections += 1;
          resolve({ pending: opening.pending, total_unread: frame.total_unread });
        } else if (frame.type !== "pong") {
          check(frame.type !== "error", () => `the server says ${JSON.stringify(frame)}`);
          check(frame.type !== "sync_gap", "the server wants history to be paged in a short conversation");
          this.note(frame);
        }
      };
      socket.on("message", (data, isBinary) => {
        try {
          check(!isBinary, "the server sent a binary frame");
          for (const frame of unbatch(JSON.parse(String(data)))) take(frame);
        } catch (error) {
          reject(error);
          this.fail(error);
          socket.terminate();
        }
      });
      socket.on("unexpected-response", (_, response) => {
        // A server that is starting or ending may answer 5xx; anything else is final.
        const told = `the session was refused with ${response.statusCode}`;
        socket.terminate();
        reject(response.statusCode >= 500 ? new Error(told) : new Violation(told));
      });
      socket.on("error", reject);
      socket.on("close", (code) => {
        clearInterval(socket.heartbeat);
        reject(new Error(`closed with ${code} before everything had come`));
        const expected = this.losing || this.socket !== socket;
        if (opening.complete && !expected) this.fail(new Violation(`the server closed a session with ${code}`));
      });
    });
  }

  beat(socket, seconds) {
    check(seconds > 0, "auth_ack has no heartbeat_seconds");
    socket.heartbeat = setInterval(() => socket.send('{"type":"ping"}'), seconds * 1000);
  }

  note(frame) {
    this.frames.push(frame);
  }

  takeEvent(event, last) {
    const { conversation_id: id, seq } = event;
    const before = last.get(id);
    if (before === undefined) {
      const acked = this.acked.get(id) ?? 0;
      check(seq <= acked + 1, () => `acknowledged up to ${acked}, and the next is ${seq}`);
    } else {
      check(seq === before + 1, () => `seq ${seq} follows ${before}`);
    }
    last.set(id, seq);
    if (!this.events.has(id)) this.events.set(id, new Map());
    const known = this.events.get(id).get(seq);
    check(!known || known.message_id === event.message_id, () => `two events at seq ${seq}`);
    this.events.get(id).set(seq, event);
    if (this.acknowledges) this.ack(id, seq);
  }

  ack(id, seq) {
    this.acked.set(id, Math.max(seq, this.acked.get(id) ?? 0));
    this.send({ type: "ack", conversation_id: id, up_to_seq: seq });
  }

  read(id, seq) {
    this.send({ type: "read_receipt", conversation_id: id, up_to_seq: seq });
  }

  send(frame) {
    check(this.connected, () => `there is no connection for ${JSON.stringify(frame)}`);
    this.socket.send(JSON.stringify(frame));
  }

  /** Sends a message, and gives its `client_msg_id`. */
  say(conversation_id, content) {
    const client_msg_id = randomUUID();
    this.send({ type: "send_message", conversation_id, client_msg_id, content, content_type: "text", reply_to: null });
    return client_msg_id;
  }

  /** Waits until `find` finds something among the frames, or in `this` in general. */
  async until(find, what) {
    let deadline = Date.now() + PATIENCE;
    for (let progress = -1; ; ) {
      const found = find();
      if (found) return found;
      const now = this.frames.length + [...this.events.values()].reduce((sum, events) => sum + events.size, 0);
      if (now !== progress) deadline = Date.now() + PATIENCE;
      progress = now;
      check(Date.now() < deadline, () => `nothing comes any more; waiting for ${what}`);
      await Promise.race([sleep(2), this.failed]);
    }
  }

  /** Goes without a goodbye. */
  async drop() {
    this.losing = true;
    if (this.socket && this.socket.readyState !== WebSocket.CLOSED) {
      const closed = new Promise((done) => this.socket.once("close", done));
      this.socket.terminate();
      await closed;
    }
    this.losing = false;
  }

  /** Closes as one should. */
  async close() {
    this.losing = true;
    const closed = new Promise((done) => this.socket.once("close", done));
    this.socket.close();
    await closed;
    this.losing = false;
  }
}

export function* unbatch(frame) {
  check(typeof frame.type === "string", () => `a frame without a type: ${JSON.stringify(frame)}`);
  if (frame.type !== "batch") yield frame;
  else for (const inner of frame.frames) yield* unbatch(inner);
}
