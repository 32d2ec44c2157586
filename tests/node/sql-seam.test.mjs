// The glue between the services and the Workers runtime, proved on workerd: storage with its
// transactions, hibernatable sockets, the alarm, and calls between objects.
//
// The object is in tests/test-worker, which `make test` builds; the entry that hands it every request is
// written here.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";

import { Miniflare, convertV4MiniflareOptions } from "miniflare";

const build = resolve(import.meta.dirname, "../test-worker/build/dev");
/** Every request goes to the one object. */
const ENTRY = `
export { SqlProbe } from "./index.js";
export default {
  fetch: (request, { PROBE }) => PROBE.get(PROBE.idFromName("probe")).fetch(request),
};
`;
let state;
let server;
let origin;

async function start() {
  server = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      resourcePersistencePath: state,
      // The failures that the probe provokes are logged; only what is asserted matters here.
      handleStructuredLogs: () => {},
      workers: [
        {
          name: "parlance-test-worker",
          compatibilityDate: "2026-11-17",
          modulesRoot: build,
          modules: [
            { type: "ESModule", path: join(build, "entry.js"), contents: ENTRY },
            { type: "ESModule", path: join(build, "index.js") },
            { type: "CompiledWasm", path: join(build, "index_bg.wasm") },
          ],
          durableObjects: { PROBE: { className: "SqlProbe", useSQLite: true } },
        },
      ],
    }),
  );
  origin = (await server.ready).origin;
}

async function ask(path) {
  const response = await fetch(origin + path);
  const text = await response.text();
  assert.equal(response.status, 200, `${path}: ${text}`);
  return JSON.parse(text);
}

/** An open socket, with what it has got so far. */
async function connect(tag) {
  const socket = new WebSocket(`${origin.replace("http", "ws")}/socket?tag=${tag}`, ["parlance.v1"]);
  const frames = [];
  let told;
  socket.addEventListener("message", ({ data }) => {
    frames.push(data);
    told?.();
  });
  await new Promise((open, failed) => {
    socket.addEventListener("open", open);
    socket.addEventListener("error", failed);
  });
  return {
    socket,
    frames,
    async next() {
      if (frames.length === 0) await new Promise((resolve) => (told = resolve));
      return frames.shift();
    },
  };
}

before(async () => {
  state = await mkdtemp(join(tmpdir(), "parlance-sql-"));
  await start();
});

after(async () => {
  await server?.dispose();
  await rm(state, { recursive: true, force: true });
});

test("Durable Object SQLite keeps the contract of the storage seam", async () => {
  assert.deepEqual(await ask("/conformance"), []);
  assert.deepEqual(await ask("/conformance"), [], "a second time");
});

test("a failing transaction leaves nothing behind, also after a restart", async () => {
  assert.deepEqual(await ask("/transactions"), []);
  assert.deepEqual(await ask("/entries"), ["first", "last"], "in a later request");
  await server.dispose();
  await start();
  assert.deepEqual(await ask("/entries"), ["first", "last"], "after a restart");
});

test("a schema is migrated once", async () => {
  assert.deepEqual(await ask("/migrate"), [null, 1, 1]);
  assert.deepEqual(await ask("/migrate"), [1, 1, 1]);
});

test("rows written are counted, index rows included", async () => {
  const { written, rows } = await ask("/measure");
  assert.deepEqual(written, { plain: 1, indexed: 2, returning: 2, updated: 3, read: 0 });
  assert.deepEqual(rows, { returning: 2, read: 3, limited: 2 });
});

test("numbers keep their kind, and one that JavaScript cannot hold is an error", async () => {
  const seen = await ask("/measure");
  // An integer travels as a double. A column's affinity makes it an integer again; in an
  // expression it is a real number, so that `? / 2` is not a whole number.
  assert.deepEqual(seen.kinds, ["null", "real", "text", "blob"]);
  assert.equal(seen.stored_integer, "integer");
  assert.equal(seen.integer_beyond_read, true);
  assert.equal(seen.integer_beyond_sent, true);
  assert.match(seen.message, /syntax error/);
});

test("random bytes differ", async () => {
  const [one, other] = await ask("/entropy");
  assert.equal(one.length, 16);
  assert.notDeepEqual(one, other);
});

test("a socket has its tags and attachment, and one text goes to many", async () => {
  const [one, other] = [await connect("one"), await connect("other")];
  assert.equal(one.socket.protocol, "parlance.v1");
  assert.deepEqual(await ask("/sockets?tag=one"), [
    { tags: ["one", "all"], attachment: "one", last_ping: null },
  ]);
  assert.equal(await ask("/say?tag=all"), 2);
  assert.equal(await one.next(), "hello");
  assert.equal(await other.next(), "hello");
  assert.equal(await ask("/say?tag=other"), 1);
  assert.equal(await other.next(), "hello");
  assert.equal(await ask("/say?tag=nobody"), 0);

  one.socket.send("caf\u00e9 \u{1f980}");
  assert.equal(await one.next(), "caf\u00e9 \u{1f980}");
  assert.equal((await ask("/sockets?tag=one"))[0].attachment, "caf\u00e9 \u{1f980}");

  const closed = new Promise((resolve) => one.socket.addEventListener("close", resolve));
  one.socket.send(new Uint8Array([1]));
  const { code, reason } = await closed;
  assert.deepEqual({ code, reason }, { code: 4000, reason: "text only" });
  other.socket.close();
});

test("the runtime answers a ping by itself and tells when", async () => {
  const { socket, next } = await connect("pinger");
  const before = Date.now();
  socket.send('{"type":"ping"}');
  assert.equal(await next(), '{"type":"pong"}');
  const [seen] = await ask("/sockets?tag=pinger");
  assert.ok(seen.last_ping >= before - 1000 && seen.last_ping <= Date.now(), `${seen.last_ping}`);
  assert.equal(seen.attachment, "pinger", "the object never saw the ping");
  socket.close();
});

test("a socket that the runtime does not take is an error and is not kept", async () => {
  assert.deepEqual(await ask("/refused-socket"), { refused: [true, true, true], left: 0 });
});

test("an alarm is set to the millisecond, is taken back, and rings", async () => {
  assert.deepEqual(await ask("/alarm"), { before: null, deleted: null, exact: true });
  for (let tries = 0; tries < 50 && !(await ask("/entries")).includes("rung"); tries += 1) {
    await wait(100);
  }
  assert.ok((await ask("/entries")).includes("rung"));
});

test("a call to another object gives its reply, its refusal, or why there is none", async () => {
  assert.deepEqual(await ask("/call"), [
    { reply: "caf\u00e9 \u{1f980}" },
    { refused: "not_found" },
    { refused: "internal" },
    { unreachable: "thrown by the object" },
    { unreadable: 200 },
    { unreadable: 400 },
    "impossible",
  ]);
});
