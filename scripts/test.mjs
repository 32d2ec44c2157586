// Builds and runs every test; what `make test` does.
//
//   node scripts/test.mjs [STAGE...]     only these, and what they need; the list is below
//
// Environment:
//   TEST_THREADS   how many whole-system tests run at the same time (8: they mostly wait)
//   STAGES_AT_ONCE how many stages run at the same time (3, of which two may compile)
//
// Compiling (which keeps all cores busy) goes on beside tests (which mostly wait), and what links
// for long on one core beside what uses several. Nothing here depends on how fast any of it is.

import { readdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

import { NATIVE } from "./packages.mjs";
import { runCommand, runStages } from "./stages.mjs";

const root = resolve(import.meta.dirname, "..");
const { env } = process;
const threads = env.TEST_THREADS || "8";

/** Programs of tests that are stages of their own: the directories and names of their targets. */
const SYSTEM = "tests/system";
const CONTRACT = "tests/contract";
const SIMULATION = "simulation/simulated";

/** The programs of tests that cargo has built, by the names of their targets. */
let programs = [];

async function buildNative() {
  // `--tests`: all that is not told to have none; documentation has none.
  const args = ["test", ...NATIVE, "--tests", "--no-run", "--message-format=json-render-diagnostics"];
  const { status, text, errors } = await runCommand({ command: "cargo", args }, { apart: true });
  if (status !== 0) throw new Error(`cargo test --no-run: exit ${status}\n${errors}`);
  programs = text
    .split("\n")
    .filter((line) => line.startsWith('{"reason":"compiler-artifact"'))
    .map((line) => JSON.parse(line))
    .filter(({ profile, executable }) => profile.test && executable)
    .map(({ target, executable, manifest_path }) => ({ name: `${basename(dirname(manifest_path))}/${target.name}`, executable, directory: dirname(manifest_path) }));
  return [{ command: "printf", args: ["%s\\n", ...programs.map(({ executable }) => executable)] }];
}

/** The command that runs a program as cargo would. */
function program({ executable, directory }, args = [], more = {}) {
  return { command: executable, args, cwd: directory, env: { CARGO_MANIFEST_DIR: directory, ...more } };
}

function only(name) {
  const found = programs.find((one) => one.name === name);
  if (!found) throw new Error(`cargo has built no tests that are called ${name}`);
  return found;
}

const node = (...args) => ({ command: process.execPath, args });
const crowd = ["--test-threads", threads];

const STAGES = [
  { name: "tools", compiles: true, run: [node("scripts/tools.mjs", "parlance-bindgen", "spin-host"), node("scripts/dev-vars.mjs")] },
  { name: "build-worker", needs: ["tools"], compiles: true, run: [node("scripts/build-worker.mjs", "functions/worker")] },
  { name: "build-native", compiles: true, run: buildNative },
  {
    name: "build-for-tests",
    needs: ["tools"],
    compiles: true,
    run: [node("scripts/build-worker.mjs", "--dev", "tests/test-worker"), node("scripts/build-spin.mjs", "--dev", "tests/sql-spin")],
  },
  { name: "build-spin", needs: ["tools"], compiles: true, run: [node("scripts/build-spin.mjs", "functions/spin")] },
  { name: "node", needs: ["build-worker", "build-for-tests"], run: [node("--test", "--test-concurrency=2", ...nodeTests())] },
  { name: "system", needs: ["build-native", "build-worker", "build-for-tests"], run: () => [program(only(SYSTEM), crowd)] },
  { name: "contract-workers", needs: ["build-native", "build-worker"], run: () => [program(only(CONTRACT), crowd, { EDITION: "workers" })] },
  {
    name: "native",
    needs: ["build-native"],
    run: () => programs.filter(({ name }) => ![SYSTEM, CONTRACT, SIMULATION].includes(name)).map((one) => program(one)),
  },
  { name: "contract-spin", needs: ["build-native", "build-spin"], run: () => [program(only(CONTRACT), crowd, { EDITION: "spin" })] },
  { name: "simulation", needs: ["build-native"], run: () => [program(only(SIMULATION))] },
];

function nodeTests() {
  const directory = join(root, "tests", "node");
  return readdirSync(directory, { recursive: true })
    .filter((name) => name.endsWith(".test.mjs"))
    .map((name) => join("tests", "node", name))
    .sort();
}

/** The stages of these names, and what they need. */
function wanted(names) {
  const chosen = new Set();
  const choose = (name) => {
    const stage = STAGES.find((one) => one.name === name);
    if (!stage) {
      console.error(`parlance: there is no stage "${name}". There are:\n${STAGES.map((one) => `  ${one.name}`).join("\n")}`);
      process.exit(2);
    }
    chosen.add(stage);
    for (const need of stage.needs ?? []) choose(need);
  };
  names.forEach(choose);
  return names.length > 0 ? STAGES.filter((stage) => chosen.has(stage)) : STAGES;
}

const atOnce = Number(env.STAGES_AT_ONCE || "3");
const passed = await runStages(wanted(process.argv.slice(2)), { atOnce, compiling: Math.min(atOnce, 2) });
process.exit(passed ? 0 : 1);
