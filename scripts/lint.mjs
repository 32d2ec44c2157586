// Formatting and clippy, natively and as what runs at the edge is compiled; what `make lint` does.
// Warnings are errors. One after the other: cargo lets only one build at a time.

import { COMPONENTS, NATIVE, WORKERS, these } from "./packages.mjs";
import { runStages } from "./stages.mjs";

const cargo = (...args) => ({ command: "cargo", args });
const node = (...args) => ({ command: process.execPath, args });
const clippy = (...args) => cargo("clippy", "--quiet", ...args, "--", "-D", "warnings");

const passed = await runStages(
  [
    { name: "format", run: [cargo("fmt", "--all", "--check")] },
    { name: "clippy-native", run: [clippy(...NATIVE, "--all-targets")] },
    { name: "clippy-workers", run: [clippy("--target", "wasm32-unknown-unknown", ...these(...WORKERS), "--lib", "--tests")] },
    // They are kept, and so is that they have passed.
    { name: "clippy-tools", run: [node("scripts/tools.mjs", "--lint", "parlance-bindgen", "spin-host")] },
    { name: "clippy-spin", run: [clippy("--target", "wasm32-wasip2", ...these(...COMPONENTS))] },
  ],
  { atOnce: 1 },
);
process.exit(passed ? 0 : 1);
