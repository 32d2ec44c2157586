// Serves the built Worker on workerd, for development and for the whole-system tests.
//
//   node scripts/dev.mjs        (through `make dev`, which builds first)
//
// Environment:
//   PORT       8787; 0 takes any free one
//   STATE_DIR  .state/dev: the Durable Objects' databases
//   VARS       "NAME=value NAME2=value2": win over .dev.vars, which wins over wrangler.toml
//   CONFIG     wrangler.toml: which Worker
//   MAIN       another build of it than the one that CONFIG names
//   QUIET      1: no hint after the line that says where it runs
//   STOP_WITH_PARENT  1: end when the process that started this one is gone (`make dev`)
//
// Standard output has one line `Parlance is running on http://127.0.0.1:PORT` when requests
// are answered, and from then on every line that the Worker logs. Exit: 0 after SIGINT,
// SIGTERM or SIGHUP, 1 with a reason on standard error.
//
// Not `wrangler dev`: docs/decisions/0001-serve-workerd-directly-in-development.md.
// Must not build, and must not let workerd or its port outlive this process.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

import { InUse, claim, workerdPidFile } from "./state-claim.mjs";
import { readWorkerOptions } from "./worker-options.mjs";

const root = resolve(import.meta.dirname, "..");
const { env } = process;
const config = resolve(root, env.CONFIG || "wrangler.toml");
const stateDir = resolve(root, env.STATE_DIR || ".state/dev");
const tied = env.STOP_WITH_PARENT === "1";

/** Something that the person at the keyboard can put right: told without a stack. */
class Failure extends Error {}

const say = (text) => console.error(`parlance: ${text}`);

function fail(text) {
  say(text);
  process.exit(1);
}

function portFrom(text) {
  const port = Number(text || "8787");
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    fail(`PORT must be a number from 0 to 65535, not "${text}"`);
  }
  return port;
}

function varsFrom(text) {
  const pairs = (text || "").split(/\s+/).filter(Boolean);
  for (const pair of pairs) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*=/.test(pair)) {
      fail(`VARS must be like "NAME=value NAME2=value2"; "${pair}" is not`);
    }
  }
  return Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
  );
}

/** What Miniflare is to run: wrangler.toml with the built modules. */
function optionsFrom({ name, main: built, worker, externalWorkers }, { Log, LogLevel }, port, vars) {
  const main = env.MAIN ? resolve(root, env.MAIN) : built;
  const wasm = join(dirname(main), "index_bg.wasm");
  const present = (file) => {
    if (!existsSync(file)) {
      throw new Failure(`${relative(root, file)} is missing. Build it with \`make build\`.`);
    }
    return file;
  };
  // The benchmark's reference is plain JavaScript.
  const isWasm = readFileSync(present(main), "utf8").includes("index_bg.wasm");
  return {
    // The door of Miniflare's own worker, which costs more than ours: any port, not used.
    host: "127.0.0.1",
    port: 0,
    // No request log, no inspector, no look-up of this machine's place in the world.
    logRequests: false,
    cf: false,
    log: new Log(LogLevel.WARN, { prefix: "workerd" }),
    handleStructuredLogs: ({ message }) => process.stdout.write(`${message}\n`),
    // Objects' databases. Eviction of idle objects stays as on Cloudflare (after about 10 s).
    resourcePersistencePath: stateDir,
    workers: [
      {
        ...worker,
        // Part of the path of every object's database.
        name,
        // The runtime's own port, straight to our Worker.
        unsafeDirectSockets: [{ host: "127.0.0.1", port }],
        bindings: { ...worker.bindings, ...vars },
        modulesRoot: dirname(main),
        modules: [
          { type: "ESModule", path: main },
          ...(isWasm ? [{ type: "CompiledWasm", path: present(wasm) }] : []),
        ],
      },
      ...externalWorkers,
    ],
  };
}

function explain(error, port) {
  if ((error.code === "EEXIST" || error.code === "ENOTDIR") && error.syscall === "mkdir") {
    return `STATE_DIR must be a directory: ${error.path} cannot be one.`;
  }
  if (error.code === "ERR_ADDRESS_IN_USE") {
    return `port ${port} is taken. Stop what runs there, or choose another with PORT (0: any free one).`;
  }
  return error instanceof Failure || error instanceof InUse ? error.message : error.stack;
}

const HINT = (url) => `
Try:  curl -s ${url}/api/v1/auth/code -H 'content-type: application/json' \\
        -d '{"phone_number":"+15550100001"}'
The README goes on from there to the first conversation. Ctrl-C stops the server; what it
stored stays in ${relative(process.cwd(), stateDir) || "."}.
`;

async function main() {
  const port = portFrom(env.PORT);
  const vars = varsFrom(env.VARS);
  if (!existsSync(config)) fail(`${config} is missing`);

  const release = await claim(stateDir, { tied, say });
  let miniflare;
  let stopping = false;

  /** Ends workerd first: nothing writes to the state after the claim on it is given back. */
  async function stop(code) {
    if (stopping) return;
    stopping = true;
    // Lines that workerd has already written are still on their way.
    await new Promise((done) => setTimeout(done, 30));
    await miniflare?.dispose().catch((error) => say(`workerd did not stop cleanly: ${error.message}`));
    release();
    process.exit(code);
  }
  const stopOnSignals = () => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
      process.removeAllListeners(signal);
      process.on(signal, () => stop(0));
    }
  };
  stopOnSignals();
  if (tied) {
    const parent = process.ppid;
    setInterval(() => process.ppid !== parent && stop(0), 200).unref();
  }
  // Whoever read our output may be gone; the server is not a part of that reader.
  process.stdout.on("error", () => {});

  try {
    const options = await readWorkerOptions(config);
    const [runtime, workerd] = await Promise.all([import("miniflare"), import("workerd")]);
    const { Miniflare, convertV4MiniflareOptions } = runtime;
    env.MINIFLARE_WORKERD_PATH = join(root, "scripts", "workerd-tied.sh");
    env.PARLANCE_WORKERD = workerd.default.default ?? workerd.default;
    env.PARLANCE_WORKERD_PID_FILE = workerdPidFile(stateDir);
    miniflare = new Miniflare(
      convertV4MiniflareOptions(optionsFrom(options, runtime, port, vars)),
    );
    // Miniflare's own handlers would leave at once, with another exit code.
    stopOnSignals();
    const url = (await miniflare.unsafeGetDirectURL()).origin;
    if (stopping) return;
    process.stdout.write(`Parlance is running on ${url}\n`);
    if (env.QUIET !== "1") process.stdout.write(HINT(url));
  } catch (error) {
    if (stopping) return;
    say(explain(error, port));
    // Miniflare cleans up, and then fails once more with the error that was just told.
    await miniflare?.dispose().catch(() => {});
    miniflare = undefined;
    await stop(1);
  }
}

if (Number(process.versions.node.split(".")[0]) < 22) {
  fail(`Node ${process.versions.node} is too old. Use \`make dev\`, or node_modules/.bin/node.`);
}
main().catch((error) => fail(explain(error)));
