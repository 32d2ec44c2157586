// Runs stages side by side where they do not need one another, and says how long each took.
//
// A stage is `{ name, needs, compiles, run }`: `run` is a list of commands, done in order, each
// `{ command, args, cwd?, env? }`, or a function that gives such a list when the stage begins; one that
// `compiles` keeps all cores busy.
//
// Always holds: a stage begins when all that it needs have passed; what a stage prints is printed
// whole when it ends, so that two never mix; where one fails, those that do not need it go on. What
// is started here ends with this process.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
/** What each stage has printed so far. */
const logs = resolve(root, process.env.CARGO_TARGET_DIR || "target", "stages");

/**
 * Runs `stages`, at most `atOnce` at a time and of those that compile at most `compiling`, in their
 * order where they can choose. Returns whether all passed.
 */
export async function runStages(stages, { atOnce = 1, compiling = atOnce } = {}) {
  if (!(Number.isInteger(atOnce) && atOnce > 0)) throw new Error(`${atOnce} stages cannot run at the same time`);
  const began = performance.now();
  console.log(`parlance: what a stage prints comes when it ends; until then it is in ${relative(root, logs)}/`);
  const waiting = [...stages];
  const results = new Map();
  const running = new Map();
  const isReady = ({ needs = [] }) => needs.every((name) => results.get(name)?.passed);
  const isLost = ({ needs = [] }) => needs.some((name) => results.get(name)?.passed === false);

  while (waiting.length > 0 || running.size > 0) {
    for (const stage of waiting.filter(isLost)) {
      waiting.splice(waiting.indexOf(stage), 1);
      results.set(stage.name, { passed: false, seconds: 0, told: "not run: what it needs has failed" });
    }
    for (const stage of waiting.filter(isReady)) {
      const compile = [...running.keys()].filter((one) => one.compiles).length;
      if (running.size >= atOnce || (stage.compiles && compile >= compiling)) continue;
      waiting.splice(waiting.indexOf(stage), 1);
      console.log(`parlance: ${clock(began)} begins: ${stage.name}`);
      running.set(stage, runStage(stage));
    }
    if (running.size === 0) {
      if (waiting.length > 0 && !waiting.some(isLost)) throw new Error(`nothing leads to: ${waiting.map(({ name }) => name)}`);
      continue;
    }
    const { stage, passed, seconds, output } = await Promise.race(running.values());
    const { name } = stage;
    running.delete(stage);
    results.set(name, { passed, seconds, told: `${passed ? "passed" : "FAILED"}${tests(output)}` });
    console.log(`\n=== ${name}: ${passed ? "passed" : "FAILED"} in ${seconds.toFixed(0)} s\n${output}`);
  }
  console.log(`parlance: ${clock(began)} how long each stage took (several ran at the same time)`);
  for (const [name, { seconds, told }] of results) {
    console.log(`  ${seconds.toFixed(0).padStart(5)} s  ${name.padEnd(28)} ${told}`);
  }
  return [...results.values()].every(({ passed }) => passed);
}

/** How many tests passed and failed, as cargo's runner and Node's say. */
function tests(output) {
  const sum = (pattern) => [...output.matchAll(pattern)].reduce((total, [, count]) => total + Number(count), 0);
  const passed = sum(/^test result: .* (\d+) passed;/gm) + sum(/^(?:# |\u2139 )pass (\d+)$/gm);
  const failed = sum(/^test result: .* (\d+) failed;/gm) + sum(/^(?:# |\u2139 )fail (\d+)$/gm);
  return passed + failed > 0 ? `: ${passed} tests passed, ${failed} failed` : "";
}

function clock(began) {
  const seconds = Math.round((performance.now() - began) / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

async function runStage(stage) {
  const { name, run } = stage;
  const began = performance.now();
  let output = "";
  let passed = true;
  // Whoever wonders what it is at can look there while it runs.
  const log = join(logs, `${name.replaceAll(/[^a-z]+/g, "-")}.log`);
  mkdirSync(logs, { recursive: true });
  writeFileSync(log, "");
  try {
    const commands = typeof run === "function" ? await run() : run;
    if (commands.length === 0) throw new Error("there is nothing to run");
    for (const one of commands) {
      const { status, text } = await runCommand(one, { log });
      output += text;
      if (status !== 0) {
        passed = false;
        output += `\n${[one.command, ...one.args].join(" ")}: exit ${status}\n`;
        break;
      }
    }
  } catch (error) {
    passed = false;
    output += `${error.stack}\n`;
  }
  return { stage, passed, seconds: (performance.now() - began) / 1000, output };
}

const children = new Set();

/**
 * Runs a command to its end, and gives its exit status and what it printed: all in one text, or
 * `apart` as `text` and `errors`. It is also added to the file `log` as it comes.
 */
export async function runCommand({ command, args, cwd = root, env = {} }, { log, apart = false } = {}) {
  const stdio = ["ignore", "pipe", "pipe"];
  // A group of its own, so that all that it starts can be ended with it.
  const child = spawn(command, args, { cwd, stdio, env: { ...process.env, ...env }, detached: true });
  children.add(child);
  let text = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (piece) => {
    text += piece;
    if (log) appendFileSync(log, piece);
  });
  child.stderr.setEncoding("utf8").on("data", (piece) => {
    if (apart) errors += piece;
    else text += piece;
    if (log) appendFileSync(log, piece);
  });
  const [status, signal] = await once(child, "close");
  children.delete(child);
  return { status: status ?? signal, text, errors };
}

process.on("exit", () => {
  for (const { pid } of children) {
    if (!pid) continue; // It could not be started.
    try {
      process.kill(-pid, "SIGTERM");
    } catch (error) {
      // It has ended by itself.
      if (error.code !== "ESRCH") throw error;
    }
  }
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(130));
// Whoever read what is printed is gone.
process.stdout.on("error", () => process.exit(1));
