// Compiles components for Spin, and the host that runs them where there is no Spin.
//
//   node scripts/build-spin.mjs CRATE_DIRECTORY...      (through `make build`)
//
// The results are CRATE/build/NAME.wasm, and functions/spin/build/spin-host. Prints how large
// each component is and how long it takes to start.
//
// Always holds: when neither an input nor the output changed since the last build, nothing
// is run. Must not download anything but crates. There is no wasm-opt here: it does not take
// components.

import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";

import { fingerprint, fingerprintBelow, size } from "./fingerprint.mjs";

const root = resolve(import.meta.dirname, "..");
const TARGET = "wasm32-wasip2";
const HOST = join("functions", "spin", "build", "spin-host");

const PINS = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "scripts/build-spin.mjs"];
const HOST_INPUTS = [...PINS, "tests/spin-host"];
const COMPONENT_INPUTS = [
  ...PINS,
  "shared",
  "storage",
  "functions/Cargo.toml",
  "functions/src",
  "functions/embedded",
  "functions/spin",
];

/**
 * Makes `output` by `make` if it, or one of `inputs`, is not what it was after the last time.
 * `make` may return a text, which is kept. Returns `{ state, text }`.
 */
function upToDate(output, inputs, announcement, make) {
  const stampFile = join(root, dirname(output), `.${output.split("/").at(-1)}.built-from`);
  const from = () => `${fingerprintBelow(inputs)} ${process.env.RUSTFLAGS ?? ""}`;
  if (existsSync(stampFile) && existsSync(join(root, output))) {
    const [stamp, made, ...text] = readFileSync(stampFile, "utf8").split("\n");
    if (stamp === from() && made === fingerprint([output])) {
      return { state: "up to date", text: text.join("\n") };
    }
  }
  console.log(`parlance: ${announcement}`);
  const started = Date.now();
  // Taken before the build: an edit made while it runs must cause another.
  const before = from();
  rmSync(stampFile, { force: true });
  const text = make() ?? "";
  if (before === from()) {
    writeFileSync(stampFile, `${before}\n${fingerprint([output])}\n${text}`);
  }
  return { state: `built in ${((Date.now() - started) / 1000).toFixed(0)} s`, text };
}

function cargo(...parameters) {
  const result = spawnSync("cargo", ["build", ...parameters], {
    cwd: root,
    stdio: "inherit",
  });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** A file of cargo's target directory. */
function built(...path) {
  return resolve(root, process.env.CARGO_TARGET_DIR || "target", ...path);
}

/** Replaces `output` as a whole, so that one that runs goes on as it is. */
function install(file, output) {
  const absolute = join(root, output);
  mkdirSync(dirname(absolute), { recursive: true });
  const partial = `${absolute}.${process.pid}`;
  try {
    // The host is half a gigabyte with what debuggers want to know.
    linkSync(file, partial);
  } catch {
    copyFileSync(file, partial);
  }
  renameSync(partial, absolute);
}

function packageOf(crate) {
  const manifest = readFileSync(join(root, crate, "Cargo.toml"), "utf8");
  return manifest.match(/^name = "(.*)"$/m)[1];
}

function buildHost() {
  const announcement = "compiling the Spin host (the first time takes some minutes)";
  upToDate(HOST, HOST_INPUTS, announcement, () => {
    cargo("-p", "parlance-spin-host", "--bin", "spin-host");
    install(built("debug", "spin-host"), HOST);
  });
}

function measure(output) {
  const result = spawnSync(join(root, HOST), ["--measure", join(root, output)], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
  return result.stdout.trim();
}

function buildComponent(crate) {
  const name = packageOf(crate);
  const file = `${name.replaceAll("-", "_")}.wasm`;
  const output = join(crate, "build", file);
  const inputs = [...COMPONENT_INPUTS, crate];
  const announcement = `compiling ${crate} for Spin (the first time takes a minute or two)`;
  const { state, text } = upToDate(output, inputs, announcement, () => {
    cargo("--release", "--target", TARGET, "-p", name);
    install(built(TARGET, "release", file), output);
    return measure(output);
  });
  const gzip = size(gzipSync(readFileSync(join(root, output))).length);
  console.log(`parlance: ${crate} ${state}: ${text}, gzip ${gzip}`);
}

buildHost();
for (const crate of process.argv.slice(2)) buildComponent(crate);
