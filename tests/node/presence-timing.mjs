// How soon a subscriber learns that somebody has come, has gone, and has died without a word.
// By hand, with foreign-session.mjs --silent-death: it takes two minutes, and asserts speed.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { Device } from "./device.mjs";
import { signUp } from "./http.mjs";
import { check } from "./violation.mjs";

/** What the issue promises, in ms. */
const AT_ONCE = 500;
const SILENT = 100_000;
/** Longer than an idle object stays in memory, in ms. */
const SLEEP = 15_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** A client that stays connected and does nothing but send heartbeats, until it is killed. */
export async function idle(base) {
  const device = new Device(base, JSON.parse(process.env.SESSION));
  await device.connect();
  console.log("CONNECTED");
  await device.failed;
}

export async function watchPresence(base, script) {
  const alice = new Device(base, await signUp(base));
  const bob = new Device(base, await signUp(base));
  await alice.connect();
  alice.send({ type: "presence_subscribe", user_ids: [bob.id] });
  let from = 0;
  /** Waits for an update after `began`; gives how long it took. */
  const told = async (status, began, limit) => {
    const fits = (frame) => frame.type === "presence_update" && frame.user_id === bob.id && frame.status === status;
    const deadline = Date.now() + limit + 5_000;
    for (;;) {
      const at = alice.frames.findIndex((frame, place) => place >= from && fits(frame));
      if (at >= 0) {
        from = at + 1;
        const took = Date.now() - began;
        check(took <= limit, () => `${status} was told after ${took} ms, promised were ${limit}`);
        return { took, update: alice.frames[at] };
      }
      check(Date.now() < deadline, () => `${status} was never told`);
      await Promise.race([sleep(1), alice.failed]);
    }
  };
  await sleep(SLEEP);

  for (const asleep of [false, true]) {
    let began = Date.now();
    await bob.connect();
    const online = await told("online", began, AT_ONCE);
    if (asleep) await sleep(SLEEP);
    began = Date.now();
    await bob.close();
    const offline = await told("offline", began, AT_ONCE);
    check(offline.update.last_seen, "who has gone was last seen at some time");
    const how = asleep ? "after a sleep" : "at once";
    console.log(`online after ${online.took} ms; closed ${how}: offline after ${offline.took} ms`);
  }

  const env = { ...process.env, SESSION: JSON.stringify(bob.session) };
  const child = spawn(process.execPath, [script, base, "--idle"], { env, stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    check(line === "CONNECTED", () => `the other says ${line}`);
    await told("online", Date.now(), 10_000);
    await sleep(SLEEP);
    child.kill("SIGSTOP");
    console.log("stopped; up to 100 s of silence follow");
    const { took } = await told("offline", Date.now(), SILENT);
    console.log(`died without a word: offline after ${(took / 1000).toFixed(1)} s`);
  } finally {
    child.kill("SIGKILL");
  }
  await alice.close();
}
