// Measures the fan-out of a large group: from send to acknowledgement, and to the last delivery
// among those who are connected, idle and in a burst. A measurement, not a test: run by hand.
//
//   node tests/node/crowd-bench.mjs http://127.0.0.1:8787 [--members 1024] [--connected 200] [--burst 100]
//
// The server must run with DEVELOPMENT=1 and CODE_PROVIDER=dev (`make dev`), and with
// VARS="RATE_LIMIT_SCALE=0". Clients and server share the machine, and so its processors.

import { parseArgs } from "node:util";

import { Device } from "./device.mjs";
import { expect, signUp } from "./http.mjs";
import { Violation, check } from "./violation.mjs";

/** How many requests are under way at once. */
const PARALLEL = 16;
/** How many messages are sent one by one into the quiet group. */
const IDLE_ROUNDS = 10;
/** How long a connected device gathers before it acknowledges, in ms. */
const GATHER = 50;
/** How long everything of a round may take, in ms. */
const PATIENCE = 300_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Does `work` for each, a few at a time; gives the results in order. */
async function each(list, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < list.length) {
      const at = next;
      next += 1;
      results[at] = await work(list[at], at);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  return results;
}

/** A device that notes when each message came. */
class Timed extends Device {
  /** seq -> when */
  arrivals = new Map();
  /** client_msg_id -> when its msg_ack came */
  acks = new Map();

  note(frame) {
    if (frame.type === "msg_ack") this.acks.set(frame.client_msg_id, performance.now());
  }

  takeEvent(event, last) {
    super.takeEvent(event, last);
    if (!this.arrivals.has(event.seq)) this.arrivals.set(event.seq, performance.now());
  }

  /** As a client would that does not want to answer every single message. */
  ack(id, seq) {
    this.acked.set(id, seq);
    this.gathering ??= setTimeout(() => {
      this.gathering = undefined;
      if (this.connected) this.send({ type: "ack", conversation_id: id, up_to_seq: this.acked.get(id) });
    }, GATHER);
  }
}

/** The first failure of a connection, where there was one. */
let failure;

function watched(device) {
  device.failed.catch((error) => (failure ??= error));
  return device;
}

async function until(holds, what) {
  const deadline = Date.now() + PATIENCE;
  while (!holds()) {
    if (failure) throw failure;
    check(Date.now() < deadline, `gave up waiting for ${what}`);
    await sleep(5);
  }
}

const ms = (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;

function spread(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share) => ms(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  return `median ${at(0.5)}, 95 % ${at(0.95)}, most ${ms(sorted.at(-1))}`;
}

async function bench(base, { members, connected, burst }) {
  let began = performance.now();
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
  const sessions = await each(Array.from({ length: members }), () => signUp(base));
  console.log(`${members} signed up in ${seconds()}`);
  const [author] = sessions;
  began = performance.now();
  const body = { type: "group", name: "Crowd", member_ids: sessions.slice(1).map((session) => session.user_id) };
  const { conversation_id: id } = await expect([201], base, "POST", "/conversations", { token: author.token, body });
  const headOf = async (session) => {
    const list = await expect([200], base, "GET", "/conversations", { token: session.token });
    return list.conversations.find((item) => item.id === id)?.head_seq ?? 0;
  };
  /** Waits until every member's list shows a seq. */
  const listed = async (seq) => {
    await each(sessions, async (session) => {
      const deadline = Date.now() + PATIENCE;
      while ((await headOf(session)) < seq) {
        check(Date.now() < deadline, "a list that never shows the message");
        await sleep(20);
      }
    });
  };
  await listed(1);
  console.log(`the group is in all ${members} lists after ${seconds()}`);

  began = performance.now();
  const sender = watched(new Timed(base, author));
  const others = sessions.slice(1, connected + 1).map((session) => watched(new Timed(base, session)));
  await each([sender, ...others], (device) => device.connect());
  console.log(`${connected} members and the author connected in ${seconds()}`);
  let head = await headOf(author);
  await sleep(2000);

  /** Sends so many at once; gives the times from the first send. */
  const round = async (count) => {
    const started = performance.now();
    const names = Array.from({ length: count }, (_, n) => sender.say(id, `message ${n}`));
    await until(() => names.every((name) => sender.acks.has(name)), "the acknowledgements");
    const ackTimes = names.map((name) => sender.acks.get(name) - started);
    const from = head + 1;
    head += count;
    await until(() => others.every((device) => device.arrivals.has(head)), "the deliveries");
    const deliveries = others.flatMap((device) => {
      return Array.from({ length: count }, (_, n) => device.arrivals.get(from + n) - started);
    });
    const last = Math.max(...others.map((device) => device.arrivals.get(head) - started));
    await listed(head);
    return { ackTimes, deliveries, last, lists: performance.now() - started };
  };

  const rounds = [];
  for (let n = 0; n < IDLE_ROUNDS; n += 1) {
    rounds.push(await round(1));
    await sleep(500);
  }
  console.log(`idle, ${IDLE_ROUNDS} single messages, from send`);
  console.log(`  to ack:              ${spread(rounds.map((one) => one.ackTimes[0]))}`);
  console.log(`  to a delivery:       ${spread(rounds.flatMap((one) => one.deliveries))}`);
  console.log(`  to the last of ${connected}:  ${spread(rounds.map((one) => one.last))}`);
  console.log(`  to the last list:    ${spread(rounds.map((one) => one.lists))} (asking included)`);
  const all = await round(burst);
  console.log(`a burst of ${burst}, from the first send`);
  console.log(`  to an ack:           ${spread(all.ackTimes)}`);
  console.log(`  to a delivery:       ${spread(all.deliveries)}`);
  console.log(`  to the last delivery of the last message: ${ms(all.last)}`);
  console.log(`  to the last list:    ${ms(all.lists)} (asking included)`);
  const rate = (burst * others.length * 1000) / all.last;
  console.log(`  ${Math.round(rate)} deliveries/s; each connected member got each message, in order`);
  for (const device of [sender, ...others]) await device.close();
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    members: { type: "string", default: "1024" },
    connected: { type: "string", default: "200" },
    burst: { type: "string", default: "100" },
  },
});
const base = positionals[0]?.replace(/\/+$/, "");
const numbers = Object.fromEntries(Object.entries(values).map(([name, text]) => [name, Number(text)]));
const sound = Object.values(numbers).every((number) => Number.isInteger(number) && number > 0);
if (positionals.length !== 1 || !/^https?:/.test(base) || !sound || numbers.connected >= numbers.members || numbers.members > 1024) {
  console.error("usage: node tests/node/crowd-bench.mjs URL [--members 1024] [--connected 200] [--burst 100]");
  process.exit(2);
}
try {
  await bench(base, numbers);
  process.exit(0);
} catch (error) {
  console.error(error instanceof Violation ? `VIOLATION: ${error.message}` : error);
  process.exit(1);
}
