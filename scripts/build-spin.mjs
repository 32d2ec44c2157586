// Compiles components for Spin.
//
//   node scripts/build-spin.mjs [--dev] CRATE_DIRECTORY...      (through `make`)
//
// The results are CRATE/build/NAME.wasm, and with `--dev` CRATE/build/dev/NAME.wasm: built in
// seconds after a change, larger and slower. Of one that is to be deployed it prints how large it
// is, and where the host is there (scripts/tools.mjs) how long it takes to start.
//
// Always holds: when neither an input nor the output changed since the last build, nothing
// is run. Must not download anything but crates. There is no wasm-opt here: it does not take
// components.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";

import { fingerprint, fingerprintBelow, packageOf, size } from "./fingerprint.mjs";
import { cargo, targetDirectory, toolIfThere } from "./tools.mjs";

const root = resolve(import.meta.dirname, "..");
const TARGET = "wasm32-wasip2";

// What every component is made of, besides its own directory.
const SHARED_INPUTS = [
  "Cargo.toml",
  "Cargo.lock",
  "rust-toolchain.toml",
  ".cargo/config.toml",
  "scripts/build-spin.mjs",
  "scripts/tools.mjs",
  "scripts/fingerprint.mjs",
  "shared",
  "storage",
  "functions/Cargo.toml",
  "functions/src",
  "functions/embedded",
  "functions/spin",
];

function build(crate, isDevelopment) {
  const name = packageOf(crate);
  const file = `${name.replaceAll("-", "_")}.wasm`;
  const directory = join(crate, "build", ...(isDevelopment ? ["dev"] : []));
  const output = join(directory, file);
  const stampFile = join(root, directory, `.${file}.built-from`);
  const inputs = () => `${fingerprintBelow([...SHARED_INPUTS, crate])} ${process.env.RUSTFLAGS ?? ""}`;

  let state = "up to date";
  // Taken before the build: an edit made while it runs must cause another.
  const from = inputs();
  let [stamp, made, measured] = existsSync(stampFile) ? readFileSync(stampFile, "utf8").split("\n") : [];
  if (stamp !== from || !existsSync(join(root, output)) || made !== fingerprint([output])) {
    const how = isDevelopment ? "for development" : "for release";
    console.log(`parlance: compiling ${crate} for Spin ${how} (the first time takes a minute or two)`);
    const started = Date.now();
    rmSync(stampFile, { force: true });
    const profile = isDevelopment ? "edge-dev" : "release";
    cargo(["build", "--profile", profile, "--target", TARGET, "-p", name], "inherit");
    install(join(targetDirectory(), TARGET, profile, file), join(root, output));
    measured = "";
    if (from === inputs()) writeFileSync(stampFile, `${from}\n${fingerprint([output])}\n`);
    state = `built in ${((Date.now() - started) / 1000).toFixed(0)} s`;
  }
  const wasm = readFileSync(join(root, output));
  let told = `component ${size(wasm.length)}`;
  if (!isDevelopment) {
    measured ||= measure(output);
    if (measured && existsSync(stampFile)) writeFileSync(stampFile, `${from}\n${fingerprint([output])}\n${measured}`);
    told = `${measured || told}, gzip ${size(gzipSync(wasm).length)}`;
  }
  console.log(`parlance: ${crate} ${state}: ${told}`);
}

/** Replaces `output` as a whole, so that one that runs goes on as it is. */
function install(file, output) {
  mkdirSync(resolve(output, ".."), { recursive: true });
  const partial = `${output}.${process.pid}`;
  copyFileSync(file, partial);
  renameSync(partial, output);
}

/** What the host says of it; nothing where there is no host. */
function measure(output) {
  const host = toolIfThere("spin-host");
  if (!host) return "";
  const stdio = ["ignore", "pipe", "inherit"];
  const result = spawnSync(host, ["--measure", join(root, output)], { encoding: "utf8", stdio });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
  return result.stdout.trim();
}

const parameters = process.argv.slice(2);
const isDevelopment = parameters[0] === "--dev";
for (const crate of parameters.slice(isDevelopment ? 1 : 0)) build(crate, isDevelopment);
