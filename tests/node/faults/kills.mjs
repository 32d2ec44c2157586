// Kills workerd with SIGKILL at random moments under load, starts it again, and checks after each
// kill that nothing acknowledged was lost, doubled or moved. The clients share no code with the
// server. A breach is printed, and the exit status is 1.
//
//   node tests/node/faults/kills.mjs [--rounds 50] [--seed N]       (`make faults ROUNDS=50`)
//
// The load: six people, two direct conversations and two groups; some talk on conversations'
// sockets, some on session sockets, some over HTTP. All go on over the kills, and send what was not
// acknowledged again under the same `client_msg_id`. Two mark what they have read.
//
// After each kill, from another connection: every message that was acknowledged is at its seq, by
// `events` and by `messages`; no message is there twice; what one client sent is in the order in
// which it was sent; all members see one log without a gap; every receiver got it in that order; the
// lists show its head and the unread count that a recount gives; an acknowledged reading is kept. At
// the end all of it once more, from the first message on.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { expect, signUp } from "../http.mjs";
import { directory, start, tidyUp } from "../service.mjs";
import { Violation, check } from "../violation.mjs";
import { Ledger, OnConversation, OnSession, OverHttp, PATIENCE } from "./talkers.mjs";

/** How many messages a talker keeps without an acknowledgement. */
const IN_FLIGHT = 12;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Numbers from 0 to 1 that a seed gives (mulberry32). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Faults {
  ledger = new Ledger();
  /** conversation -> its events, as they were checked. */
  logs = new Map();
  /** What was read, by user and conversation, where that was acknowledged. */
  read = new Map();
  totals = { lost: 0, doubled: 0, disordered: 0 };

  constructor(seed) {
    this.next = random(seed);
    this.state = directory();
  }

  async set() {
    this.server = await start(this.state);
    this.port = new URL(this.server.url).port;
    const base = this.server.url;
    this.people = [];
    for (let n = 0; n < 6; n += 1) this.people.push(await signUp(base));
    const [ann, bob, cat, dan, eve, fay] = this.people;
    const make = async (owner, body, members) => {
      const full = { ...body, member_ids: members.map((one) => one.user_id) };
      const made = await expect([201], base, "POST", "/conversations", { token: owner.token, body: full });
      const id = made.conversation_id;
      this.logs.set(id, { members: [owner, ...members], events: [], names: new Map(), contents: new Map(), lanes: new Map() });
      return id;
    };
    const direct = await make(ann, { type: "direct" }, [bob]);
    const other = await make(cat, { type: "direct" }, [dan]);
    const all = await make(ann, { type: "group", name: "All" }, [bob, cat, dan, eve, fay]);
    const some = await make(eve, { type: "group", name: "Some" }, [ann, cat]);
    const { ledger } = this;
    this.talkers = [
      new OnConversation(base, ann, direct, ledger, "ann"),
      new OnConversation(base, bob, direct, ledger, "bob"),
      new OnConversation(base, eve, all, ledger, "eve"),
      new OnSession(base, cat, [other, all, some], ledger, "cat"),
      new OnSession(base, dan, [all, other], ledger, "dan"),
      new OverHttp(base, fay, all, ledger, "fay"),
      new OverHttp(base, ann, some, ledger, "ann"),
    ];
    this.readers = [{ session: bob, conversation: direct }, { session: fay, conversation: all }];
    for (const talker of this.talkers) await talker.begin();
  }

  get base() {
    return this.server.url;
  }

  failures() {
    return this.talkers.map((talker) => talker.failed);
  }

  lives(holds) {
    for (const talker of this.talkers) talker.serverLives = holds;
  }

  /** Talks until the moment has come, then kills. */
  async disturb(after, workerdAlone) {
    const until = Date.now() + after;
    let reading = Promise.resolve();
    for (let turn = 0; Date.now() < until; turn += 1) {
      for (const talker of this.talkers) {
        while (talker.pending < IN_FLIGHT) {
          const before = talker.pending;
          talker.talk();
          if (talker.pending === before || talker instanceof OverHttp) break;
        }
      }
      if (turn % 40 === 20) reading = this.reads().catch((error) => error instanceof Violation && Promise.reject(error));
      await Promise.race([sleep(2), ...this.failures()]);
    }
    this.lives(false);
    if (workerdAlone) {
      const [pid] = readFileSync(join(this.state, "workerd.pid"), "utf8").split(" ");
      process.kill(Number(pid), "SIGKILL");
      await sleep(this.next() * 50);
    }
    await this.server.kill();
    await reading;
  }

  /** Two of them mark all that they know of as read. */
  async reads() {
    for (const { session, conversation } of this.readers) {
      const path = `/conversations/${conversation}/read`;
      const up_to_seq = this.logs.get(conversation).events.length;
      if (up_to_seq === 0) continue;
      const headers = { authorization: `Bearer ${session.token}`, "content-type": "application/json" };
      const url = `${this.base}/api/v1${path}`;
      const response = await fetch(url, { method: "POST", headers, body: JSON.stringify({ up_to_seq }) });
      if (response.status === 200) this.read.set(`${session.user_id} ${conversation}`, up_to_seq);
      else check(response.status >= 500, () => `reading was answered ${response.status}`);
    }
  }

  async restart() {
    this.server = await start(this.state, this.port);
    this.lives(true);
  }

  /** Waits until all that was sent is acknowledged. */
  async settle() {
    for (const deadline = Date.now() + PATIENCE; ; ) {
      if (this.talkers.every((talker) => talker.pending === 0)) return;
      check(Date.now() < deadline, "what was sent again is never acknowledged");
      await Promise.race([sleep(10), ...this.failures()]);
    }
  }

  /** The events after a seq, as a member sees them. */
  async events(session, id, after) {
    const events = [];
    for (;;) {
      const path = `/conversations/${id}/events?limit=1000&after_seq=${after + events.length}`;
      const page = await expect([200], this.base, "GET", path, { token: session.token });
      for (const event of page.events) {
        events.push(event);
        check(event.seq === after + events.length, () => `the log has a gap before ${JSON.stringify(event)}`);
      }
      if (!page.has_more) return events;
      check(page.events.length > 0, "a page with has_more is empty");
    }
  }

  /** The messages after a seq by `messages`, which goes back from the newest. */
  async messages(session, id, after) {
    const found = new Map();
    for (let cursor = ""; ; ) {
      const path = `/conversations/${id}/messages?limit=200${cursor}`;
      const page = await expect([200], this.base, "GET", path, { token: session.token });
      for (const message of page.messages) if (message.seq > after) found.set(message.seq, message);
      if (!page.has_more || page.messages.at(-1).seq <= after) return found;
      cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`;
    }
  }

  /** Checks one conversation after `after`; all of it where that is 0. */
  async checkLog(id, log, after) {
    const views = await Promise.all(log.members.map((member) => this.events(member, id, after)));
    const [first] = views;
    for (const view of views) {
      check(view.length === first.length, "two members see logs of different lengths");
      check(view.every((event, at) => event.message_id === first[at].message_id), "two members see different logs");
    }
    if (after === 0) Object.assign(log, { events: [], contents: new Map(), lanes: new Map() });
    for (const event of first) {
      log.events.push(event);
      if (event.type !== "new_message") continue;
      if (log.contents.has(event.content)) this.count("doubled", event);
      log.contents.set(event.content, event.seq);
      const [lane, number] = event.content.split(" ");
      // What one client sent to one conversation is there in the order of its sending.
      if (Number(number) <= (log.lanes.get(lane) ?? -1)) this.count("disordered", event);
      log.lanes.set(lane, Number(number));
    }
    const messages = await this.messages(log.members.at(-1), id, after);
    for (const [seq, ack] of this.ledger.acked.get(id) ?? []) {
      if (seq <= after) continue;
      const stored = log.events[seq - 1];
      const isThere = (event) => event?.message_id === ack.message_id && event.content === ack.content && event.sender_id === ack.sender;
      if (!isThere(stored) || !isThere(messages.get(seq))) this.count("lost", { id, seq, ack, stored });
    }
  }

  count(what, detail) {
    this.totals[what] += 1;
    console.error(`${what}: ${JSON.stringify(detail)}`);
  }

  /** Waits until every receiver and every list has the whole log. */
  async checkReceivers() {
    for (const [id, log] of this.logs) {
      const head = log.events.length;
      for (const talker of this.talkers) {
        const behind = () => (talker.heard(id) ?? head) < head;
        for (const deadline = Date.now() + PATIENCE; behind(); await Promise.race([sleep(10), talker.failed])) {
          check(Date.now() < deadline, () => `a receiver has ${talker.heard(id)} of ${head} events`);
        }
      }
      for (const member of log.members) await this.checkList(id, log, member);
    }
  }

  async checkList(id, log, member) {
    const head = log.events.length;
    const least = this.read.get(`${member.user_id} ${id}`) ?? 0;
    for (const deadline = Date.now() + PATIENCE; ; await sleep(50)) {
      const list = await expect([200], this.base, "GET", "/conversations", { token: member.token });
      const item = list.conversations.find((one) => one.id === id);
      if (item?.head_seq === head) {
        check(item.read_seq >= least, () => `read up to ${least}, and the list says ${item.read_seq}`);
        const unread = log.events.filter((event) => event.type === "new_message" && event.sender_id !== member.user_id && event.seq > item.read_seq);
        if (item.unread === unread.length) return;
      }
      check(Date.now() < deadline, () => `of ${head} events ${JSON.stringify(item)} is listed`);
    }
  }

  async check(fromTheFirst) {
    for (const [id, log] of this.logs) await this.checkLog(id, log, fromTheFirst ? 0 : log.events.length);
    await this.checkReceivers();
  }

  async run(rounds) {
    await this.set();
    const began = Date.now();
    for (let round = 1; round <= rounds; round += 1) {
      // Now and then before anyone has come back.
      const after = this.next() < 0.15 ? this.next() * 200 : 300 + this.next() * 1500;
      const workerdAlone = this.next() < 0.5;
      await this.disturb(after, workerdAlone);
      await this.restart();
      await this.settle();
      await this.check(false);
      const { lost, doubled, disordered } = this.totals;
      const seconds = Math.round((Date.now() - began) / 1000);
      console.log(`round ${round} of ${rounds}: killed after ${Math.round(after)} ms; ${this.ledger.count} acknowledged, lost ${lost}, doubled ${doubled}, out of order ${disordered}; ${seconds} s`);
    }
    await this.check(true);
    for (const talker of this.talkers) talker.end();
    const { lost, doubled, disordered } = this.totals;
    console.log(`${rounds} kills: acknowledged ${this.ledger.count}, lost ${lost}, doubled ${doubled}, out of order ${disordered}`);
    return lost + doubled + disordered === 0;
  }
}

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "50" }, seed: { type: "string", default: String(Date.now() % 1e6) } },
});
let isSound = false;
try {
  console.log(`seed ${values.seed}`);
  isSound = await new Faults(Number(values.seed)).run(Number(values.rounds));
} catch (error) {
  console.error(error instanceof Violation ? `VIOLATION: ${error.message}` : error);
} finally {
  await tidyUp();
}
process.exit(isSound ? 0 : 1);
