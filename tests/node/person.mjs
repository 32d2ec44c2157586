// The socket half of the foreign client: a person in a conversation, who keeps the log in order,
// asks for what is missing, and checks every acknowledgement.

import { randomUUID } from "node:crypto";
import WebSocket from "ws";

import { unbatch } from "./device.mjs";
import { Violation, check } from "./violation.mjs";

/** How long a person waits for anything to come, in ms. */
export const PATIENCE = 60_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits, checks, resends: what any client of the protocol has to do. */
export class Person {
  /** client_msg_id -> frame, of what is not acknowledged yet. */
  pending = new Map();
  /** client_msg_id -> msg_ack, the first one. */
  acks = new Map();
  /** client_msg_id -> how often it was sent beyond the first time. */
  repeats = new Map();
  /** Events in order: log[i] has seq i + 1. */
  log = [];
  /** Events beyond a gap, by seq. */
  early = new Map();
  syncs = 0;
  reconnects = 0;
  stopped = false;
  gone = false;

  constructor(base, session, conversation, { patience, onAck }) {
    Object.assign(this, { base, session, conversation, patience, onAck });
    this.failed = new Promise((_, reject) => {
      this.fail = (error) => {
        this.stopped = true;
        reject(error);
      };
    });
    this.failed.catch(() => {});
  }

  get id() {
    return this.session.user_id;
  }

  /** Opens the socket, also again after a loss, and sends what is pending. */
  async connect() {
    const deadline = Date.now() + this.patience;
    for (;;) {
      try {
        return await this.open();
      } catch (error) {
        if (error instanceof Violation) throw error;
        if (Date.now() > deadline) {
          this.gone = true;
          return undefined;
        }
        await sleep(100);
      }
    }
  }

  open() {
    const root = this.base.replace(/^http/, "ws");
    const url = `${root}/api/v1/conversations/${this.conversation}/ws?after_seq=${this.log.length}`;
    const headers = { authorization: `Bearer ${this.session.token}` };
    const socket = new WebSocket(url, { headers });
    this.early.clear();
    return new Promise((resolve, reject) => {
      let greeted = false;
      socket.on("message", (data, isBinary) => {
        try {
          check(!isBinary, "the server sent a binary frame");
          for (const frame of unbatch(JSON.parse(String(data)))) {
            if (!greeted) {
              check(frame.type === "auth_ack", () => `the first frame is ${JSON.stringify(frame)}`);
              check(frame.user_id === this.id, "auth_ack names somebody else");
              greeted = true;
              this.socket = socket;
              this.resend();
              resolve();
            } else {
              this.take(frame);
            }
          }
        } catch (error) {
          this.fail(error);
          socket.terminate();
          reject(error);
        }
      });
      socket.on("unexpected-response", (_, response) => {
        // A server that is starting or ending may answer 5xx; anything else is final.
        const told = `the socket was refused with ${response.statusCode}`;
        socket.terminate();
        reject(response.statusCode >= 500 ? new Error(told) : new Violation(told));
      });
      socket.on("error", reject);
      socket.on("close", (code) => {
        reject(new Error(`closed with ${code} before it was open`));
        if (greeted && !this.stopped) {
          this.reconnects += 1;
          this.connect().catch(this.fail);
        }
      });
    });
  }

  resend() {
    for (const [name, frame] of this.pending) {
      this.repeats.set(name, (this.repeats.get(name) ?? 0) + 1);
      this.socket.send(frame);
    }
  }

  send(content) {
    const client_msg_id = randomUUID();
    const conversation_id = this.conversation;
    const frame = JSON.stringify({ type: "send_message", conversation_id, client_msg_id, content, content_type: "text", reply_to: null });
    this.pending.set(client_msg_id, frame);
    // Where there is no connection now, connect() sends it.
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(frame);
    return client_msg_id;
  }

  take(frame) {
    switch (frame.type) {
      case "msg_ack":
        return this.takeAck(frame);
      case "new_message":
      case "member_added":
        return this.takeEvent(frame);
      case "error":
        if (frame.code === "rate_limited" && this.pending.has(frame.client_msg_id)) {
          const again = () => this.pending.has(frame.client_msg_id) && this.socket.send(this.pending.get(frame.client_msg_id));
          setTimeout(again, frame.retry_after_ms ?? 1000);
          return undefined;
        }
        throw new Violation(`the server says ${JSON.stringify(frame)}`);
      case "sync_gap":
        throw new Violation("the server wants history to be paged in a short conversation");
      default: // Unknown types are ignored.
        return undefined;
    }
  }

  takeAck(ack) {
    const name = ack.client_msg_id;
    check(ack.conversation_id === this.conversation && ack.status === "sent", () => `a strange ack: ${JSON.stringify(ack)}`);
    const first = this.acks.get(name);
    const repeats = this.repeats.get(name) ?? 0;
    if (first) {
      check(repeats > 0, () => `acked twice, sent once: ${JSON.stringify(ack)}`);
      check(ack.duplicate === true, () => `a repeated message is not marked: ${JSON.stringify(ack)}`);
      check(ack.seq === first.seq && ack.message_id === first.message_id, () => `one message, two places: ${JSON.stringify([first, ack])}`);
      this.repeats.set(name, repeats - 1);
      return;
    }
    check(this.pending.delete(name), () => `an ack of a message that was never sent: ${JSON.stringify(ack)}`);
    check(ack.duplicate === false || repeats > 0, () => `marked as a duplicate, sent once: ${JSON.stringify(ack)}`);
    this.acks.set(name, ack);
    this.onAck?.(this.id, ack);
  }

  takeEvent(event) {
    check(event.conversation_id === this.conversation, "an event of another conversation");
    const known = this.log[event.seq - 1];
    if (known) {
      check(known.message_id === event.message_id, () => `two messages at seq ${event.seq}`);
      return;
    }
    if (event.sender_id !== this.id) {
      check(event.client_msg_id === undefined, "the sender's name for a message is shown to the other");
    }
    this.early.set(event.seq, event);
    if (event.seq > this.log.length + 1 && this.early.size === 1) {
      this.syncs += 1;
      this.socket.send(JSON.stringify({ type: "sync", conversation_id: this.conversation, after_seq: this.log.length }));
    }
    for (let next; (next = this.early.get(this.log.length + 1)); ) {
      this.early.delete(next.seq);
      this.log.push(next);
    }
  }

  /** Waits until `holds`, or something failed, or the server is gone for good. */
  async until(holds, what) {
    let deadline = Date.now() + PATIENCE;
    for (let progress = 0; !holds() && !this.gone; ) {
      const now = this.acks.size + this.log.length + this.reconnects;
      if (now !== progress) deadline = Date.now() + PATIENCE;
      progress = now;
      check(Date.now() < deadline, `nothing comes any more; waiting for ${what}`);
      await Promise.race([sleep(2), this.failed]);
    }
  }

  close() {
    this.stopped = true;
    this.socket?.close();
  }
}
