// A disk that is full: what cannot be written is refused and not acknowledged, what was acknowledged
// stays, and all goes on when there is space again. A breach is printed, and the exit status is 1;
// it is 77 where this user may not mount a small file system, which the test needs.
//
//   node tests/node/faults/full-disk.mjs

import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { Device } from "../device.mjs";
import { expect, readLog, signUp } from "../http.mjs";
import { directory, start, tidyUp } from "../service.mjs";
import { Violation, check } from "../violation.mjs";

const SIZE = "48m";
const SKIPPED = 77;

const disk = directory();
const filler = join(disk, "filler");

function mount() {
  const made = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE}`, "tmpfs", disk], { encoding: "utf8" });
  if (made.status === 0) return true;
  console.log(`skipped: a small file system cannot be mounted here (${(made.stderr ?? String(made.error)).trim()})`);
  return false;
}

/** Leaves so many bytes. */
function fill(left) {
  const { bavail, bsize } = statfsSync(disk);
  const bytes = Math.max(0, bavail * bsize - left);
  writeFileSync(filler, Buffer.alloc(bytes), { flag: "a" });
}

async function post(base, token, path, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const response = await fetch(`${base}/api/v1${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  const text = await response.text();
  let json = null;
  try {
    json = JSON.parse(text);
  } catch {
    // Told with what was asked.
  }
  return { status: response.status, body: json, text, type: response.headers.get("content-type") ?? "" };
}

async function run() {
  const { url: base } = await start(disk);
  const [ann, bob] = [await signUp(base), await signUp(base)];
  const made = { type: "direct", member_ids: [bob.user_id] };
  const { conversation_id: id } = await expect([201], base, "POST", "/conversations", { token: ann.token, body: made });
  const path = `/conversations/${id}/messages`;
  const acked = [];
  /** Names of what was refused: nothing of it may be there. */
  const refused = new Set();
  const say = async (client_msg_id, length) => {
    const reply = await post(base, ann.token, path, { client_msg_id, content: `${acked.length} `.padEnd(length, "x") });
    if (reply.status === 201 || reply.status === 200) acked.push({ ...reply.body, client_msg_id });
    return reply;
  };
  for (let n = 0; n < 20; n += 1) check((await say(randomUUID(), 100)).status === 201, "a message is refused while there is space");
  const listener = new Device(base, bob);
  // An object that cannot write may lose its sockets; their clients come again.
  Object.defineProperty(listener, "losing", { get: () => true, set: () => {} });
  await listener.connect();

  fill(256 * 1024);
  let first;
  for (let n = 0; n < 400 && refused.size < 5; n += 1) {
    const name = randomUUID();
    const reply = await say(name, 12_000);
    if (reply.status === 201) continue;
    first ??= reply;
    refused.add(name);
    // Now to the last byte, so that nothing else fits either.
    fill(0);
    check(reply.status === 500 || reply.status === 503, () => `a full disk is told as ${reply.status} ${reply.text}`);
    check(reply.type.startsWith("application/problem+json"), () => `a full disk is told as ${reply.type} ${reply.text}`);
    check(["internal", "unavailable"].includes(reply.body?.code), () => `a full disk is told as ${reply.text}`);
  }
  check(refused.size >= 5, () => `the disk is full, and ${refused.size} messages were refused`);
  console.log(`full after ${acked.length} acknowledged; the first refusal: ${first.status} ${first.text}`);

  // On a socket: no acknowledgement, but an error or the end of the connection.
  const socket = new Device(base, ann, { acknowledges: false });
  const opened = await socket.open().then(() => true, () => false);
  if (opened) {
    Object.defineProperty(socket, "losing", { get: () => true, set: () => {} });
    const name = socket.say(id, "over the socket");
    refused.add(name);
    const ended = await Promise.race([
      socket.failed.catch((error) => String(error.message)),
      new Promise((done) => socket.socket.once("close", (code) => done(`closed with ${code}`))),
      socket.until(() => socket.frames.find((frame) => frame.type === "msg_ack"), "an answer").then(() => "acknowledged"),
    ]);
    check(ended !== "acknowledged", "a message is acknowledged while the disk is full");
    console.log(`on a socket: ${ended}`);
    await socket.drop();
  } else {
    console.log("on a socket: it does not open");
  }

  rmSync(filler);
  const again = randomUUID();
  for (let tries = 0; ; tries += 1) {
    const reply = await say(again, 100);
    if (reply.status === 201 || reply.status === 200) break;
    check(tries < 100, () => `there is space again, and messages are refused: ${reply.status} ${reply.text}`);
    await new Promise((done) => setTimeout(done, 100));
  }
  for (let n = 0; n < 5; n += 1) check((await say(randomUUID(), 100)).status === 201, "traffic goes on");
  const log = await readLog(base, ann.token, id);
  const names = new Map(log.map((event) => [event.client_msg_id, event]));
  for (const ack of acked) check(log[ack.seq - 1]?.message_id === ack.message_id, () => `acknowledged and lost: ${JSON.stringify(ack)}`);
  for (const name of refused) check(!names.has(name), () => `refused and kept: ${JSON.stringify(names.get(name))}`);
  if (!listener.connected) await listener.connect();
  await listener.until(() => listener.events.get(id)?.size === log.length, "the receiver to get all");
  console.log(`${acked.length} acknowledged messages are there, ${refused.size} that were refused are not, and traffic goes on.`);
}

let status = 1;
if (!mount()) {
  status = SKIPPED;
} else {
  try {
    await run();
    status = 0;
  } catch (error) {
    console.error(error instanceof Violation ? `VIOLATION: ${error.message}` : error);
  }
}
const isMounted = status !== SKIPPED;
// The server must be gone before its disk is.
await tidyUp({ keep: isMounted ? [disk] : [] });
if (isMounted) {
  spawnSync("umount", [disk]);
  rmSync(disk, { recursive: true, force: true });
}
process.exit(status);
