// Those who go on talking while the server is killed and started again. Each keeps what was not
// acknowledged, and sends it again under the same `client_msg_id`; each checks what it gets.
//
// What always holds: an acknowledgement is noted in the ledger at the moment at which it comes.

import { randomUUID } from "node:crypto";

import { Device } from "../device.mjs";
import { Person } from "../person.mjs";
import { Violation, check } from "../violation.mjs";

/** How long the server may be away, or take over what it owes, on a machine that is busy, in ms. */
export const PATIENCE = 300_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** All that was acknowledged, and in which order what was sent was meant. */
export class Ledger {
  /** conversation -> Map of seq -> { message_id, sender, content }. */
  acked = new Map();
  count = 0;

  note(conversation, sender, content, ack) {
    if (!this.acked.has(conversation)) this.acked.set(conversation, new Map());
    const known = this.acked.get(conversation).get(ack.seq);
    check(!known || known.content === content, () => `two messages were acknowledged at seq ${ack.seq} of ${conversation}`);
    if (!known) this.count += 1;
    this.acked.get(conversation).set(ack.seq, { message_id: ack.message_id, sender, content });
  }
}

/** The content says whose it is and the how manyth, so that order can be told from the log. */
const content = (lane, number) => `${lane} ${number}`;

/** Talks on a conversation's socket. */
export class OnConversation {
  sent = 0;

  constructor(base, session, conversation, ledger, name) {
    this.lane = `socket:${name}`;
    const onAck = (sender, ack) => {
      ledger.note(conversation, sender, this.contents.get(ack.client_msg_id), ack);
      this.contents.delete(ack.client_msg_id);
    };
    this.contents = new Map();
    this.person = new Person(base, session, conversation, { patience: PATIENCE, onAck });
    this.failed = this.person.failed;
  }

  async begin() {
    await this.person.connect();
    check(!this.person.gone, "the socket cannot be opened");
  }

  get pending() {
    return this.person.pending.size;
  }

  talk() {
    const text = content(this.lane, this.sent);
    this.sent += 1;
    const socket = this.person.socket;
    const name = this.person.send(text);
    this.contents.set(name, text);
    return socket;
  }

  heard(conversation) {
    return conversation === this.person.conversation ? this.person.log.length : null;
  }

  end() {
    this.person.close();
  }
}

/** Talks in several conversations on a device's session socket. */
export class OnSession extends Device {
  sent = 0;
  pendingFrames = new Map();
  stopped = false;
  serverLives = false;

  constructor(base, session, conversations, ledger, name) {
    super(base, session);
    Object.assign(this, { conversations, ledger, name });
    // Its own watch on the end of a connection is kept here: see `live`.
    Object.defineProperty(this, "losing", { get: () => true, set: () => {} });
  }

  async begin() {
    await this.connect();
    this.resume();
    this.life = this.live().catch(this.fail);
  }

  /** Connects again for as long as it is wanted. */
  async live() {
    while (!this.stopped) {
      const code = await this.closed;
      if (this.stopped) return;
      check(!this.serverLives, () => `the server closed a session with ${code} while it lived`);
      await this.connect();
      this.resume();
    }
  }

  /** As a device does, but with the patience of this place. */
  async connect() {
    for (const deadline = Date.now() + PATIENCE; ; await sleep(100)) {
      try {
        return await this.open();
      } catch (error) {
        if (error instanceof Violation || Date.now() > deadline) throw error;
      }
    }
  }

  resume() {
    const { socket } = this;
    this.closed = new Promise((done) => socket.once("close", done));
    for (const { frame } of this.pendingFrames.values()) this.socket.send(frame);
  }

  get pending() {
    return this.pendingFrames.size;
  }

  talk() {
    const conversation_id = this.conversations[this.sent % this.conversations.length];
    const text = content(`session:${this.name}`, this.sent);
    this.sent += 1;
    const client_msg_id = randomUUID();
    const frame = JSON.stringify({ type: "send_message", conversation_id, client_msg_id, content: text, content_type: "text", reply_to: null });
    this.pendingFrames.set(client_msg_id, { frame, text });
    // Where there is no connection now, `resume` sends it.
    if (this.connected) this.socket.send(frame);
  }

  /** An acknowledgement may come where the connection is lost at the same moment. */
  send(frame) {
    if (this.connected) super.send(frame);
  }

  note(frame) {
    if (frame.type !== "msg_ack") return;
    const pending = this.pendingFrames.get(frame.client_msg_id);
    if (!pending) {
      check(frame.duplicate, () => `an acknowledgement of what was not sent: ${JSON.stringify(frame)}`);
      return;
    }
    this.pendingFrames.delete(frame.client_msg_id);
    this.ledger.note(frame.conversation_id, this.id, pending.text, frame);
  }

  heard(conversation) {
    if (!this.conversations.includes(conversation)) return null;
    return Math.max(0, ...(this.acked.has(conversation) ? [this.acked.get(conversation)] : []));
  }

  end() {
    this.stopped = true;
    this.socket?.terminate();
  }
}

/** Talks over HTTP, one message at a time, each again until it is answered. */
export class OverHttp {
  sent = 0;
  stopped = false;

  constructor(base, session, conversation, ledger, name) {
    Object.assign(this, { base, session, conversation, ledger, name });
    this.failed = new Promise((_, reject) => (this.fail = reject));
    this.failed.catch(() => {});
  }

  begin() {
    this.life = this.live().catch(this.fail);
  }

  async live() {
    while (!this.stopped) {
      if (!this.isAsked) {
        await sleep(5);
        continue;
      }
      this.isAsked = false;
      const text = content(`http:${this.name}`, this.sent);
      this.sent += 1;
      const body = JSON.stringify({ client_msg_id: randomUUID(), content: text });
      this.isWaiting = true;
      const ack = await this.post(body);
      this.isWaiting = false;
      if (ack) this.ledger.note(this.conversation, this.session.user_id, text, ack);
    }
  }

  async post(body) {
    const headers = { authorization: `Bearer ${this.session.token}`, "content-type": "application/json" };
    const url = `${this.base}/api/v1/conversations/${this.conversation}/messages`;
    const deadline = Date.now() + PATIENCE;
    while (!this.stopped) {
      check(Date.now() < deadline, "a message is never answered over HTTP");
      try {
        const response = await fetch(url, { method: "POST", headers, body });
        const text = await response.text();
        if (response.status === 200 || response.status === 201) return JSON.parse(text);
        // A server that is ending or starting; anything else is final.
        check(response.status >= 500, () => `${response.status} ${text}`);
      } catch (error) {
        if (error instanceof Violation) throw error;
      }
      await sleep(20);
    }
    return null;
  }

  get pending() {
    return this.isAsked || this.isWaiting ? 1 : 0;
  }

  talk() {
    this.isAsked = true;
  }

  heard() {
    return null;
  }

  end() {
    this.stopped = true;
  }
}
