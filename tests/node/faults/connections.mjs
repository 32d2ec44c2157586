// Connects and disconnects thousands of times, and looks at the memory that workerd holds meanwhile.
// Where it grows by more than a generous bound after the first part, the exit status is 1.
//
//   node tests/node/faults/connections.mjs [--cycles 10000]
//
// Half of the sockets are conversations', half are sessions; half end as they should, half just go.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import WebSocket from "ws";

import { expect, signUp } from "../http.mjs";
import { directory, start, tidyUp } from "../service.mjs";
import { Violation, check } from "../violation.mjs";

const AT_ONCE = 8;
/** How much more memory may be held at the end than after the warm-up, in MiB. */
const MOST_GROWTH = 96;

const { values } = parseArgs({ options: { cycles: { type: "string", default: "10000" } } });
const cycles = Number(values.cycles);

/** What the process holds in memory, in MiB. */
function resident(state) {
  const [pid] = readFileSync(join(state, "workerd.pid"), "utf8").split(" ");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;
}

/** Opens a socket, waits until it is greeted, and ends it. */
function cycle(base, path, token, politely) {
  const socket = new WebSocket(`${base.replace(/^http/, "ws")}/api/v1${path}`, { headers: { authorization: `Bearer ${token}` } });
  return new Promise((done, failed) => {
    socket.on("message", (data) => {
      const greeted = String(data).includes('"auth_ack"');
      if (!greeted) return;
      if (politely) socket.close();
      else socket.terminate();
    });
    socket.on("unexpected-response", (_, response) => failed(new Violation(`an upgrade was refused with ${response.statusCode}`)));
    socket.on("error", failed);
    socket.on("close", done);
  });
}

async function run() {
  const state = directory();
  const server = await start(state);
  const base = server.url;
  const people = [];
  for (let n = 0; n < AT_ONCE; n += 1) people.push(await signUp(base));
  const body = { type: "group", name: "Comers and goers", member_ids: people.slice(1).map((one) => one.user_id) };
  const made = await expect([201], base, "POST", "/conversations", { token: people[0].token, body });
  const conversation = `/conversations/${made.conversation_id}/ws`;
  const warmUp = Math.max(200, Math.floor(cycles / 5));
  const samples = [];
  let opened = 0;
  let before;
  const worker = async (person) => {
    while (opened < cycles) {
      opened += 1;
      const number = opened;
      await cycle(base, number % 2 === 0 ? conversation : "/ws", person.token, number % 4 < 2);
      if (number === warmUp) before = resident(state);
      if (number % Math.max(1, Math.floor(cycles / 10)) === 0) {
        samples.push(resident(state));
        console.log(`${number} of ${cycles}: ${samples.at(-1).toFixed(0)} MiB`);
      }
    }
  };
  await Promise.all(people.map(worker));
  // Garbage of the last ones is collected when it is needed, which a few requests bring about.
  for (let n = 0; n < 50; n += 1) await expect([200], base, "GET", "/conversations", { token: people[0].token });
  const after = resident(state);
  const text = `${cycles} connections: ${before.toFixed(0)} MiB after ${warmUp}, ${after.toFixed(0)} MiB at the end`;
  check(after - before < MOST_GROWTH, () => `memory grows: ${text}`);
  console.log(text);
}

let status = 1;
try {
  await run();
  status = 0;
} catch (error) {
  console.error(error instanceof Violation ? `VIOLATION: ${error.message}` : error);
} finally {
  await tidyUp();
}
process.exit(status);
