// Compiles a Worker crate to WebAssembly: Rust, wasm-bindgen, wasm-opt, esbuild.
//
//   node scripts/build-worker.mjs [--dev] CRATE_DIRECTORY...      (through `make`)
//
// The result is CRATE/build/index.js and index_bg.wasm, as they are deployed. With `--dev` it is
// CRATE/build/dev/: built in seconds after a change, larger and slower, with the names of functions.
//
// Always holds: when neither an input nor the output changed since the last build, nothing
// is run. "Changed" is judged by content, so that a switch of branches and back costs
// nothing. Must not download anything but crates.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";

import { fingerprint, fingerprintBelow, packageOf, size } from "./fingerprint.mjs";
import { cargo, targetDirectory, tool } from "./tools.mjs";
import { exportsOf, shim } from "./worker-shim.mjs";

const root = resolve(import.meta.dirname, "..");
const TARGET = "wasm32-unknown-unknown";

// What every Worker is made of, besides its own directory.
const SHARED_INPUTS = [
  "Cargo.toml",
  "Cargo.lock",
  "rust-toolchain.toml",
  "package-lock.json",
  ".cargo/config.toml",
  "scripts/tools.mjs",
  "scripts/bindgen",
  "scripts/build-worker.mjs",
  "scripts/fingerprint.mjs",
  "scripts/worker-shim.mjs",
  "shared",
  "storage",
  "thumbnails",
  "functions/Cargo.toml",
  "functions/src",
  "functions/worker/Cargo.toml",
  "functions/worker/src",
  "durable-objects",
];

/** What rustc may make of Rust, and all that the runtime knows. */
const WASM_FEATURES = [
  "mutable-globals",
  "sign-ext",
  "nontrapping-float-to-int",
  "bulk-memory",
  "multivalue",
  "reference-types",
  "exception-handling",
].map((feature) => `--enable-${feature}`);

function build(crate, isDevelopment) {
  const directory = join(crate, "build", ...(isDevelopment ? ["dev"] : []));
  const output = ["index.js", "index_bg.wasm"].map((name) => join(directory, name));
  const stampFile = join(root, directory, ".built-from");
  const inputs = () => `${fingerprintBelow([...SHARED_INPUTS, crate])} ${process.env.RUSTFLAGS ?? ""}`;
  const stamp = (from) => `${from}\n${fingerprint(output)}\n`;

  let state = "up to date";
  // Taken before the build: an edit made while it runs must cause another.
  const from = inputs();
  const isThere = output.every((file) => existsSync(join(root, file)));
  if (!isThere || !existsSync(stampFile) || readFileSync(stampFile, "utf8") !== stamp(from)) {
    const how = isDevelopment ? "for development" : "for release";
    console.log(`parlance: compiling ${crate} to WebAssembly ${how} (the first time takes a minute or two)`);
    const started = Date.now();
    rmSync(stampFile, { force: true });
    make(crate, join(root, directory), isDevelopment);
    if (from === inputs()) writeFileSync(stampFile, stamp(from));
    state = `built in ${((Date.now() - started) / 1000).toFixed(0)} s`;
  }
  const wasm = readFileSync(join(root, output[1]));
  const gzip = isDevelopment ? "" : `, gzip ${size(gzipSync(wasm).length)}`;
  console.log(`parlance: ${crate} ${state}: wasm ${size(wasm.length)}${gzip}`);
}

function make(crate, directory, isDevelopment) {
  const bindgen = tool("parlance-bindgen");
  const name = packageOf(crate);
  const profile = isDevelopment ? "edge-dev" : "release";
  // The macros then build on js-sys alone, as the crate `worker` does.
  const env = { WASM_BINDGEN_USE_JS_SYS: "1" };
  cargo(["build", "--lib", "--profile", profile, "--target", TARGET, "-p", name], "inherit", env);

  // Two builds at a time do not touch what the other makes.
  const partial = join(directory, `partial-${process.pid}`);
  mkdirSync(partial, { recursive: true });
  process.on("exit", () => rmSync(partial, { recursive: true, force: true }));
  const inPartial = (file) => join(partial, file);
  const compiled = join(targetDirectory(), TARGET, profile, `${name.replaceAll("-", "_")}.wasm`);
  run(bindgen, [compiled, partial]);
  if (!isDevelopment) {
    // Without the names of functions, a twelfth of what is uploaded; a panic says where it was.
    const wasm = inPartial("index_bg.wasm");
    run(bin("wasm-opt"), [wasm, "-O", ...WASM_FEATURES, "--strip-debug", "--strip-producers", "-o", wasm]);
  }
  writeFileSync(inPartial("shim.js"), shim(exportsOf(readFileSync(inPartial("index.js"), "utf8"))));
  const options = ["--bundle", "--format=esm", "--external:./index_bg.wasm", "--external:cloudflare:*"];
  if (!isDevelopment) options.push("--minify");
  const bundle = inPartial("bundle.js");
  run(bin("esbuild"), [inPartial("shim.js"), ...options, "--log-level=warning", `--outfile=${bundle}`]);
  // The runtime does not know imports of the source phase; what it gives for these is the same.
  const javascript = readFileSync(bundle, "utf8").replaceAll("import source ", "import ");

  writeFileSync(bundle, javascript);
  renameSync(inPartial("index_bg.wasm"), join(directory, "index_bg.wasm"));
  renameSync(bundle, join(directory, "index.js"));
}

function bin(name) {
  return join(root, "node_modules", ".bin", name);
}

function run(program, parameters) {
  const { error, status } = spawnSync(program, parameters, { stdio: "inherit" });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

const parameters = process.argv.slice(2);
const isDevelopment = parameters[0] === "--dev";
for (const crate of parameters.slice(isDevelopment ? 1 : 0)) build(crate, isDevelopment);
