// A client of session sockets that shares nothing with the server: written from the description
// of the wire protocol alone, on `ws` and `fetch`. Alice has two devices, Bob is offline; Alice
// writes 500 messages in three conversations. Bob connects, gets all in order, acknowledges
// half, loses the connection, comes back, gets the rest, and reads. Alice's devices see it
// delivered, then read; the unread counts are checked at every step. A breach is printed, and
// the exit status is 1.
//
//   node tests/node/foreign-session.mjs http://127.0.0.1:8787 [--messages 500] [--kill]
//   node tests/node/foreign-session.mjs http://127.0.0.1:8787 --silent-death
//
// --kill          stops before every step: prints `STEP name` and waits for a line on standard
//                 input. Whoever reads it may kill the server, and start it again on the same
//                 state and port. What was acknowledged shortly before may then come again.
// --silent-death  presence instead: times how soon a subscriber learns that another has come, has
//                 gone, and was stopped with SIGSTOP, so that only its heartbeats stay away.
//                 Takes two minutes.
//
// The server must run with DEVELOPMENT=1 and CODE_PROVIDER=dev (`make dev`), and with
// VARS="RATE_LIMIT_SCALE=0".

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { Device, PATIENCE } from "./device.mjs";
import { expect, readLog, signIn, signUp } from "./http.mjs";
import { idle, watchPresence } from "./presence-timing.mjs";
import { Violation, check } from "./violation.mjs";

/** How long what is stored may take to show, in ms. */
const SOON = 20_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

class Play {
  constructor(base, count, kills) {
    Object.assign(this, { base, count, kills });
    this.lines = kills && createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  }

  /** Where `kills`: lets the server be killed, and connects again whoever was connected. */
  async step(name) {
    if (!this.kills) return;
    const connected = (this.devices ?? []).filter((device) => device.connected);
    for (const device of connected) device.losing = true;
    console.log(`STEP ${name}`);
    const { done } = await this.lines.next();
    check(!done, "standard input has ended");
    for (const device of connected) {
      await device.drop();
      await this.come(device);
    }
  }

  /** Connects a device, and checks what was waiting for it against the logs. */
  async come(device) {
    const acked = new Map(device.acked);
    await this.inbox(device);
    const { pending, total_unread } = await device.connect();
    const turns = pending.map((event) => event.conversation_id).filter((id, at, all) => id !== all[at - 1]);
    check(new Set(turns).size === turns.length, "what waits does not come conversation by conversation");
    check(turns.every((id) => this.conversations.includes(id)), "an event of an unknown conversation");
    let redelivered = 0;
    for (const id of this.conversations) {
      const log = await readLog(this.base, device.session.token, id);
      const events = pending.filter((event) => event.conversation_id === id);
      const from = acked.get(id) ?? 0;
      // Device has checked that nothing is skipped before or within.
      const first = events[0]?.seq ?? log.length + 1;
      check(first <= from + 1, () => `acknowledged up to ${from} of ${log.length}, ${events.length} came`);
      redelivered += from + 1 - first;
      const head = events.at(-1)?.seq ?? from;
      check(head === log.length, () => `the log ends at ${log.length}, what was waiting at ${head}`);
      const same = (event) => JSON.stringify(sorted(event)) === JSON.stringify(sorted(log[event.seq - 1]));
      const strange = events.find((event) => !same(event));
      check(!strange, () => `not as in the log: ${JSON.stringify(strange)}`);
    }
    check(this.kills || redelivered === 0, () => `${redelivered} events came again after they were acknowledged`);
    if (this.settled && device.id === this.bob.id) {
      const unread = this.sum();
      check(total_unread === unread, () => `sync_complete says ${total_unread} unread, there are ${unread}`);
    }
    return pending;
  }

  /** Waits until a user's inbox has everything: what was on its way when the server died, too. */
  async inbox(device) {
    const { token } = device.session;
    for (const id of this.conversations) {
      const { length } = await readLog(this.base, token, id);
      const behind = async () => {
        const list = await expect([200], this.base, "GET", "/conversations", { token });
        return (list.conversations.find((item) => item.id === id)?.head_seq ?? 0) < length;
      };
      for (const deadline = Date.now() + PATIENCE; await behind(); await sleep(50)) {
        check(Date.now() < deadline, "the list never shows what was sent");
      }
    }
  }

  sum() {
    return this.conversations.reduce((sum, id) => sum + this.unreadAfter(id, this.read.get(id) ?? 0), 0);
  }

  /** All of them are Alice's, so all count. */
  unreadAfter(id, seq) {
    return this.log(id).filter((event) => event.type === "new_message" && event.seq > seq).length;
  }

  log(id) {
    return this.logs.get(id);
  }

  head(id) {
    return this.log(id).length;
  }

  /** The middle of a conversation, by seq. */
  half(id) {
    return Math.floor(this.head(id) / 2);
  }

  /** Checks Bob's list, once it shows all that was written. */
  async checkUnread() {
    const token = this.bob.session.token;
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const list = await expect([200], this.base, "GET", "/conversations", { token });
      const items = this.conversations.map((id) => list.conversations.find((item) => item.id === id));
      const there = items.every((item, at) => {
        const id = this.conversations[at];
        return item?.head_seq === this.head(id) && item.read_seq === (this.read.get(id) ?? 0);
      });
      if (there) {
        for (const item of items) {
          const unread = this.unreadAfter(item.id, item.read_seq);
          check(item.unread === unread, () => `${unread} are unread, the list says ${JSON.stringify(item)}`);
        }
        check(list.total_unread === this.sum(), () => `${this.sum()} are unread, the list says ${list.total_unread}`);
        return;
      }
      check(Date.now() < deadline, () => `the list does not get there: ${JSON.stringify(items)}`);
      await sleep(50);
    }
  }

  /** Waits until both of Alice's devices are told of a position in every conversation. */
  async told(kind, position) {
    for (const device of [this.phone, this.laptop]) {
      for (const id of this.conversations) {
        const up_to_seq = position(id);
        const fits = (frame) => frame.type === kind && frame.conversation_id === id && frame.up_to_seq === up_to_seq;
        const receipt = await device.until(() => device.frames.find(fits), `${kind} of ${id} up to ${up_to_seq}`);
        check(receipt.user_id === this.bob.id, () => `whose is ${JSON.stringify(receipt)}?`);
        check(receipt.message_id === this.log(id)[up_to_seq - 1].message_id, () => `of which message is ${JSON.stringify(receipt)}?`);
      }
    }
  }

  async run() {
    await this.step("meet");
    const alice = await signUp(this.base);
    const again = await signIn(this.base, alice.phone_number);
    check(again.user_id === alice.user_id && again.device_id !== alice.device_id, "two logins are two devices of one user");
    this.phone = new Device(this.base, alice);
    this.laptop = new Device(this.base, again);
    this.bob = new Device(this.base, await signUp(this.base), { acknowledges: false });
    this.devices = [this.phone, this.laptop, this.bob];
    this.conversations = [];
    this.logs = new Map();
    this.read = new Map();
    for (const device of [this.phone, this.laptop]) await this.come(device);
    const bodies = [{ type: "direct" }, { type: "group", name: "Work" }, { type: "group", name: "Home" }];
    for (const body of bodies) {
      const full = { ...body, member_ids: [this.bob.id] };
      const { conversation_id } = await expect([201], this.base, "POST", "/conversations", { token: alice.token, body: full });
      this.conversations.push(conversation_id);
    }

    await this.step("write");
    await this.write();
    await this.checkUnread();
    this.settled = true;

    await this.step("Bob comes");
    const all = await this.come(this.bob);
    const messages = all.filter((event) => event.type === "new_message");
    check(messages.length === this.count, () => `${this.count} were written, ${messages.length} came`);
    await this.checkUnread();

    await this.step("Bob acknowledges half");
    for (const id of this.conversations) this.bob.ack(id, this.half(id));
    await this.told("delivery_receipt", (id) => this.half(id));
    await this.checkUnread();

    await this.step("Bob is cut off");
    await this.bob.drop();

    await this.step("Bob is back");
    const rest = await this.come(this.bob);
    console.log(`${all.length} came at first, ${rest.length} after half was acknowledged`);

    await this.step("Bob acknowledges the rest");
    for (const id of this.conversations) this.bob.ack(id, this.head(id));
    await this.told("delivery_receipt", (id) => this.head(id));
    await this.checkUnread();
    for (const device of [this.phone, this.laptop]) {
      check(!device.frames.some((frame) => frame.type === "read_receipt"), "read before anyone has read");
    }

    await this.step("Bob reads half");
    await this.reads((id) => this.half(id));
    await this.step("Bob reads the rest");
    await this.reads((id) => this.head(id));
    check(this.sum() === 0, "all has been read");

    await this.step("Bob goes, and everyone comes again");
    await this.info();
    for (const device of this.devices) {
      // What has just been acknowledged is on its way before the close is.
      await device.close();
      await this.come(device);
    }
    await this.checkUnread();
    for (const device of this.devices) await device.close();
  }

  /** Alice writes from both devices, at full speed. */
  async write() {
    const names = new Map([this.phone, this.laptop].map((device) => [device, new Set()]));
    for (let n = 0; n < this.count; n += 1) {
      const device = n % 2 === 0 ? this.phone : this.laptop;
      names.get(device).add(device.say(this.conversations[n % 3], `message ${n}`));
    }
    for (const [device, own] of names) {
      const acks = () => device.frames.filter((frame) => frame.type === "msg_ack");
      await device.until(() => acks().length >= own.size, "every message to be acknowledged");
      for (const ack of acks()) {
        check(own.delete(ack.client_msg_id), () => `acked twice, or never sent: ${JSON.stringify(ack)}`);
        check(ack.duplicate === false, () => `sent once, marked as a duplicate: ${JSON.stringify(ack)}`);
      }
    }
    for (const id of this.conversations) {
      const log = await readLog(this.base, this.phone.session.token, id);
      this.logs.set(id, log);
      for (const device of [this.phone, this.laptop]) {
        await device.until(() => device.events.get(id)?.size === log.length, "one's own messages on both devices");
        const names = [...device.events.get(id).values()].filter((event) => event.type === "new_message");
        check(names.every((event) => typeof event.client_msg_id === "string"), "one's own messages have their client_msg_id");
      }
    }
    const written = [...this.logs.values()].flat().filter((event) => event.type === "new_message");
    check(written.length === this.count, () => `${this.count} were written, ${written.length} are stored`);
  }

  async reads(position) {
    for (const id of this.conversations) {
      this.bob.read(id, position(id));
      this.read.set(id, position(id));
    }
    await this.told("read_receipt", position);
    await this.checkUnread();
  }

  async info() {
    const token = this.phone.session.token;
    for (const id of this.conversations) {
      const path = `/conversations/${id}/messages/${this.log(id).at(-1).message_id}/info`;
      const has = (list) => list.some((entry) => entry.user_id === this.bob.id);
      for (const deadline = Date.now() + SOON; ; await sleep(50)) {
        const info = await expect([200], this.base, "GET", path, { token });
        if (has(info.read_by) && has(info.delivered_to) && info.pending.length === 0) break;
        check(Date.now() < deadline, () => `all is read, and info says ${JSON.stringify(info)}`);
      }
    }
  }
}

/** The same object, with its fields in a fixed order; the sender's own name for it left out. */
function sorted({ client_msg_id, ...event }) {
  return Object.entries(event).sort(([a], [b]) => (a < b ? -1 : 1));
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    messages: { type: "string", default: "500" },
    kill: { type: "boolean", default: false },
    "silent-death": { type: "boolean", default: false },
    idle: { type: "boolean", default: false },
  },
});
const base = positionals[0]?.replace(/\/+$/, "");
const count = Number(values.messages);
if (positionals.length !== 1 || !/^https?:/.test(base) || !Number.isInteger(count) || count < 12) {
  console.error("usage: node tests/node/foreign-session.mjs URL [--messages N] [--kill | --silent-death]");
  process.exit(2);
}
try {
  if (values.idle) {
    await idle(base);
  } else if (values["silent-death"]) {
    await watchPresence(base, import.meta.filename);
  } else {
    await new Play(base, count, values.kill).run();
    console.log(`${count} messages over 3 conversations: in order, to the end, delivered and read; unread counts right at every step.`);
  }
  process.exit(0);
} catch (error) {
  console.error(error instanceof Violation ? `VIOLATION: ${error.message}` : error);
  process.exit(1);
}
