// Compiles a Worker crate to WebAssembly with worker-build: Rust, wasm-bindgen, wasm-opt,
// esbuild. The result is CRATE/build/index.js and index_bg.wasm.
//
//   node scripts/build-worker.mjs CRATE_DIRECTORY...      (through `make build`)
//
// Always holds: when neither an input nor the output changed since the last build, nothing
// is run. "Changed" is judged by content, so that a switch of branches and back costs
// nothing. Must not download anything: the tools are those that scripts/setup.sh brought.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";

import { fingerprint, fingerprintBelow, size } from "./fingerprint.mjs";

const root = resolve(import.meta.dirname, "..");
const { TOOLS, WASM_BINDGEN_VERSION, WORKER_BUILD_VERSION } = process.env;

// What every Worker is made of, besides its own directory.
const SHARED_INPUTS = [
  "Cargo.toml",
  "Cargo.lock",
  "rust-toolchain.toml",
  "package-lock.json",
  "scripts/build-worker.mjs",
  "scripts/fingerprint.mjs",
  "shared",
  "storage",
  "thumbnails",
  "functions/Cargo.toml",
  "functions/src",
  "functions/worker/Cargo.toml",
  "functions/worker/src",
  "durable-objects",
];

function inputsOf(crate) {
  const inputs = fingerprintBelow([...SHARED_INPUTS, crate]);
  return `${inputs} ${WASM_BINDGEN_VERSION} ${WORKER_BUILD_VERSION} ${process.env.RUSTFLAGS ?? ""}`;
}

function build(crate) {
  const output = ["index.js", "index_bg.wasm"].map((name) => join(crate, "build", name));
  const stampFile = join(root, crate, "build", ".built-from");
  const stamp = () => `${inputsOf(crate)}\n${fingerprint(output)}\n`;
  const outputExists = output.every((file) => existsSync(join(root, file)));

  let state = "up to date";
  if (!outputExists || !existsSync(stampFile) || readFileSync(stampFile, "utf8") !== stamp()) {
    console.log(`parlance: compiling ${crate} to WebAssembly (the first time takes a minute or two)`);
    const started = Date.now();
    // Taken before the build: an edit made while it runs must cause another.
    const inputs = inputsOf(crate);
    rmSync(stampFile, { force: true });
    run(crate);
    if (inputs === inputsOf(crate)) writeFileSync(stampFile, `${inputs}\n${fingerprint(output)}\n`);
    state = `built in ${((Date.now() - started) / 1000).toFixed(0)} s`;
  }
  const wasm = readFileSync(join(root, output[1]));
  console.log(`parlance: ${crate} ${state}: wasm ${size(wasm.length)}, gzip ${size(gzipSync(wasm).length)}`);
}

function run(crate) {
  const bin = (name) => join(root, "node_modules", ".bin", name);
  const result = spawnSync(
    join(TOOLS, `worker-build-${WORKER_BUILD_VERSION}`, "bin", "worker-build"),
    ["--release"],
    {
      cwd: join(root, crate),
      stdio: "inherit",
      env: {
        ...process.env,
        WASM_BINDGEN_BIN: join(TOOLS, `wasm-bindgen-${WASM_BINDGEN_VERSION}`, "bin", "wasm-bindgen"),
        WASM_OPT_BIN: bin("wasm-opt"),
        ESBUILD_BIN: bin("esbuild"),
      },
    },
  );
  succeeds(result);
  // worker-build keeps the names of functions, a twelfth of what is uploaded; a panic says where it
  // was without them. Nothing else is done to it here.
  const wasm = join(root, crate, "build", "index_bg.wasm");
  const strip = ["--strip-debug", "--strip-producers", wasm, "-o", wasm];
  succeeds(spawnSync(bin("wasm-opt"), strip, { stdio: "inherit" }));
}

function succeeds({ error, status }) {
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

if (!TOOLS || !WASM_BINDGEN_VERSION || !WORKER_BUILD_VERSION) {
  console.error("parlance: run this through `make build`, which names the tools");
  process.exit(1);
}
for (const crate of process.argv.slice(2)) build(crate);
