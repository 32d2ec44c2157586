// A client that shares nothing with the server: written from the description of the wire
// protocol alone, on `ws` and `fetch`. Two new people sign up, open their direct conversation
// from both sides, and talk at full speed; then everything that the protocol promises of order
// and acknowledgement is checked. Any breach of it is printed, and the exit status is 1.
//
//   node tests/node/foreign-client.mjs http://127.0.0.1:8787 [--messages 1000] [--record FILE]
//   node tests/node/foreign-client.mjs http://127.0.0.1:8787 --crash-check FILE
//   node tests/node/foreign-client.mjs http://127.0.0.1:8787 --verify FILE
//
// --messages N        how many each of the two sends. A lost connection is opened again, and
//                     what had not been acknowledged is sent again under the same name.
// --record FILE       writes every acknowledgement to FILE as it comes.
// --crash-check FILE  as --record, but sends without end; done when the server is gone.
// --verify FILE       checks that the server still has what FILE says was acknowledged.
//
// The server must run with DEVELOPMENT=1 and CODE_PROVIDER=dev (`make dev`), and, for full
// speed, with VARS="RATE_LIMIT_SCALE=0".

import { openSync, readFileSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";

import { expect, readLog, signUp } from "./http.mjs";
import { PATIENCE, Person } from "./person.mjs";
import { Violation, check } from "./violation.mjs";

/** How long a server that is going to be killed may stay away, in ms. */
const CRASH_PATIENCE = 2_000;
/** How many messages the endless mode keeps without an acknowledgement. */
const IN_FLIGHT = 200;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function meet(base, options) {
  const sessions = [await signUp(base), await signUp(base)];
  const ids = [];
  for (const [own, other] of [sessions, sessions.toReversed()]) {
    const body = { type: "direct", member_ids: [other.user_id] };
    ids.push((await expect([200, 201], base, "POST", "/conversations", { token: own.token, body })).conversation_id);
  }
  check(ids[0] === ids[1], `one direct conversation, two ids: ${ids}`);
  const record = options.file && recorder(options.file, ids[0], sessions);
  const people = sessions.map((session) => new Person(base, session, ids[0], { patience: options.patience, onAck: record }));
  await Promise.all(people.map((person) => person.connect()));
  for (const person of people) check(!person.gone, "the socket cannot be opened");
  return people;
}

function recorder(file, conversation_id, sessions) {
  const out = openSync(file, "w");
  writeSync(out, `${JSON.stringify({ conversation_id, sessions })}\n`);
  return (user_id, ack) => writeSync(out, `${JSON.stringify({ user_id, ...ack })}\n`);
}

async function talk(base, count, file) {
  const people = await meet(base, { patience: PATIENCE, file });
  const began = performance.now();
  // A few hundred at a turn, so that the two go at the same time and answers are read.
  for (let sent = 0; sent < count; ) {
    for (const end = Math.min(count, sent + 250); sent < end; sent += 1) {
      for (const person of people) person.send(`message ${sent}`);
    }
    await Promise.race([new Promise(setImmediate), ...people.map((person) => person.failed)]);
  }
  const all = () => people.every((person) => person.acks.size === count && person.log.length >= 2 * count);
  for (const person of people) await person.until(all, "all to be acknowledged and received");
  const seconds = (performance.now() - began) / 1000;
  check(people.every((person) => !person.gone), "the server is gone");

  for (const person of people) await repeat(base, person, count);
  await sleep(200); // Time for an ack too many to show.
  for (const person of people) {
    await Promise.race([person.failed, undefined]);
    check([...person.repeats.values()].every((left) => left >= 0), "an ack too many");
  }
  const [mine, yours] = people.map((person) => person.log.map((event) => `${event.seq} ${event.message_id}`));
  check(mine.length === yours.length && mine.every((entry, at) => entry === yours[at]), "the two see different orders");
  for (const person of people) {
    const stored = await readLog(base, person.session.token, person.conversation);
    check(stored.length === person.log.length, () => `stored ${stored.length}, received ${person.log.length}`);
    check(stored.every((event, at) => event.message_id === person.log[at].message_id), "the log is not what was received");
    const said = stored.filter((event) => event.sender_id === person.id);
    check(said.length === count, () => `${count} were sent, ${said.length} are stored`);
    for (const ack of person.acks.values()) {
      check(stored[ack.seq - 1].message_id === ack.message_id, () => `not at its seq: ${JSON.stringify(ack)}`);
    }
  }
  const sum = (field) => people.reduce((total, person) => total + person[field], 0);
  for (const person of people) person.close();
  console.log(
    `${2 * count} messages, ${count} each way, in ${seconds.toFixed(2)} s: ${Math.round((2 * count) / seconds)} messages/s, ` +
      `each stored, acknowledged once and received by both; ${sum("reconnects")} reconnects, ${sum("syncs")} syncs. ` +
      `One order on both sides, without a gap.`,
  );
}

/** Sends the last few messages again, over the socket and over HTTP: all are known. */
async function repeat(base, person, count) {
  const names = [...person.acks.keys()].slice(-10);
  const before = person.log.length;
  for (const client_msg_id of names) {
    const first = person.acks.get(client_msg_id);
    const { content } = person.log[first.seq - 1];
    const frame = { type: "send_message", conversation_id: person.conversation, client_msg_id, content, content_type: "text" };
    person.repeats.set(client_msg_id, (person.repeats.get(client_msg_id) ?? 0) + 1);
    person.socket.send(JSON.stringify(frame));
    const path = `/conversations/${person.conversation}/messages`;
    const again = await expect([200], base, "POST", path, { token: person.session.token, body: { client_msg_id, content } });
    check(again.duplicate === true, () => `a repeated message is not marked: ${JSON.stringify(again)}`);
    check(again.seq === first.seq && again.message_id === first.message_id, () => `one message, two places: ${JSON.stringify([first, again])}`);
  }
  const answered = () => person.reconnects > 0 || names.every((name) => person.repeats.get(name) === 0);
  await person.until(answered, "the repeated messages to be acknowledged");
  check(person.acks.size === count && person.log.length === before, "a repeated message was stored again");
}

async function talkUntilTheEnd(base, file) {
  const people = await meet(base, { patience: CRASH_PATIENCE, file });
  while (!people.every((person) => person.gone)) {
    for (const person of people) {
      while (!person.gone && person.pending.size < IN_FLIGHT) person.send("until the end");
    }
    await Promise.race([sleep(1), ...people.map((person) => person.failed)]);
  }
  const acked = people.reduce((total, person) => total + person.acks.size, 0);
  check(acked > 0, "nothing was acknowledged");
  console.log(`The server is gone after ${acked} acknowledgements.`);
}

async function verify(base, file) {
  const lines = readFileSync(file, "utf8").split("\n");
  lines.pop(); // What follows the last line break: nothing, or a line that was cut off.
  const [{ conversation_id, sessions }, ...acks] = lines.map((line) => JSON.parse(line));
  const logs = await Promise.all(sessions.map((session) => readLog(base, session.token, conversation_id)));
  check(logs[0].length === logs[1].length, "the two sides see logs of different lengths");
  check(logs[0].every((event, at) => event.message_id === logs[1][at].message_id), "the two sides see different logs");
  for (const ack of acks) {
    const stored = logs[0][ack.seq - 1];
    check(stored, () => `acknowledged and lost: ${JSON.stringify(ack)}`);
    check(stored.message_id === ack.message_id && stored.sender_id === ack.user_id, () => `not at its seq: ${JSON.stringify(ack)}`);
  }
  for (const session of sessions) {
    const person = new Person(base, session, conversation_id, { patience: PATIENCE });
    await person.connect();
    await person.until(() => person.log.length >= logs[0].length, "the replay");
    const name = person.send("and on it goes");
    await person.until(() => person.acks.has(name), "traffic to go on");
    person.close();
  }
  const extra = logs[0].length - acks.length;
  console.log(`All of ${acks.length} acknowledged messages are there, each at its seq; ${extra} more were stored. Traffic goes on.`);
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    messages: { type: "string", default: "1000" },
    record: { type: "string" },
    "crash-check": { type: "string" },
    verify: { type: "string" },
  },
});
const base = positionals[0]?.replace(/\/+$/, "");
const count = Number(values.messages);
if (positionals.length !== 1 || !/^https?:/.test(base) || !Number.isInteger(count) || count < 1) {
  console.error("usage: node tests/node/foreign-client.mjs URL [--messages N] [--record FILE | --crash-check FILE | --verify FILE]");
  process.exit(2);
}
try {
  if (values.verify) await verify(base, values.verify);
  else if (values["crash-check"]) await talkUntilTheEnd(base, values["crash-check"]);
  else await talk(base, count, values.record);
  process.exit(0);
} catch (error) {
  console.error(error instanceof Violation ? `VIOLATION: ${error.message}` : error);
  process.exit(1);
}
