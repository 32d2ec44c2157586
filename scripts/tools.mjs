// Programs of this workspace that build or test, compiled once for all clones of this machine.
//
//   import { tool } from "./tools.mjs";  tool("parlance-bindgen")  // its path
//   node scripts/tools.mjs NAME...           // makes sure that they are there
//   node scripts/tools.mjs --lint NAME...    // has clippy look at them
//
// They lie in $TOOLS (the Makefile says where), each under a hash of all that it is made of: its
// own files, the versions and features of what it depends on, its profile, the compiler. So another
// clone, and the same one after a `cargo clean`, takes what is there, and a change makes a new one.
// That clippy has passed is noted in the same way.
//
// Always holds: a program appears there whole. Those that nobody asked for in a month go when a new
// one comes.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import { fingerprintBelow } from "./fingerprint.mjs";

const root = resolve(import.meta.dirname, "..");
const PROFILE = "tools";
const KEPT = 30 * 24 * 3600 * 1000;

/** The tools: where each is, and about how long it takes to compile on two cores. */
const KNOWN = {
  "parlance-bindgen": { crate: "parlance-bindgen", directory: "scripts/bindgen", about: "half a minute" },
  // Linked to where the tests, and `make spin`, find it.
  "spin-host": {
    crate: "parlance-spin-host",
    directory: "tests/spin-host",
    about: "three minutes",
    link: "functions/spin/build/spin-host",
  },
};

/** The path of a tool that was compiled, by this clone or another. */
export function toolIfThere(name) {
  const path = pathOf(name);
  if (!existsSync(path)) return undefined;
  const now = new Date();
  utimesSync(path, now, now);
  return path;
}

/** The path of a tool, which is compiled first where it is not there. */
export function tool(name) {
  const path = toolIfThere(name) ?? compile(name);
  const { link } = KNOWN[name];
  if (link) {
    mkdirSync(dirname(join(root, link)), { recursive: true });
    const partial = join(root, `${link}.${process.pid}`);
    symlinkSync(path, partial);
    renameSync(partial, join(root, link));
  }
  return path;
}

function pathOf(name) {
  const { TOOLS } = process.env;
  if (!TOOLS) throw new Error("TOOLS is not set: run this through make");
  const { crate, directory } = KNOWN[name];
  return join(TOOLS, `${name}-${keyOf(crate, directory)}`);
}

function compile(name) {
  const { crate, about } = KNOWN[name];
  const path = pathOf(name);
  console.log(`parlance: compiling ${name}, once for all clones (about ${about} on two cores)`);
  const started = Date.now();
  cargo(["build", "--locked", "--quiet", "--profile", PROFILE, "-p", crate, "--bin", name], "inherit");
  if (pathOf(name) !== path) {
    console.error(`parlance: what ${name} is made of has changed while it was compiled; run this again`);
    process.exit(1);
  }
  mkdirSync(dirname(path), { recursive: true });
  forgetOld(dirname(path), name);
  const partial = `${path}.partial.${process.pid}`;
  copyFileSync(join(targetDirectory(), PROFILE, name), partial);
  renameSync(partial, path);
  console.log(`parlance: ${name} is ready (${((Date.now() - started) / 1000).toFixed(0)} s)`);
  return path;
}

/** Where cargo puts what it builds. */
export function targetDirectory() {
  return resolve(root, process.env.CARGO_TARGET_DIR || "target");
}

/** Runs cargo in the repository; ends this process as cargo ended where it fails. */
export function cargo(parameters, stdout, env = {}) {
  const stdio = ["ignore", stdout, "inherit"];
  const result = spawnSync("cargo", parameters, { cwd: root, stdio, encoding: "utf8", env: { ...process.env, ...env } });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
  return result.stdout;
}

function keyOf(crate, directory) {
  const what = ["--locked", "--prefix", "none", "--edges", "normal,build", "--format", "{p} {f}"];
  // Paths of this clone are no part of it.
  const depends = cargo(["tree", "-p", crate, ...what], "pipe").replaceAll(/ \(\/[^)]*\)/g, "");
  const hash = createHash("sha256");
  for (const part of [
    [...new Set(depends.split("\n"))].sort().join("\n"),
    fingerprintBelow([directory, "rust-toolchain.toml", ".cargo/config.toml"]),
    sections("workspace.package"),
    // It inherits this one.
    sections("profile.dev"),
    sections(`profile.${PROFILE}`),
    process.env.RUSTFLAGS ?? "",
    process.env.LIBSQLITE3_FLAGS ?? "",
    `${process.platform} ${process.arch}`,
  ]) {
    hash.update(`${part}\0`);
  }
  return hash.digest("hex").slice(0, 16);
}

/** What Cargo.toml says under headings that begin so. */
function sections(heading) {
  const all = readFileSync(join(root, "Cargo.toml"), "utf8").split(/^(?=\[)/m);
  return all.filter((section) => section.startsWith(`[${heading}`)).join("");
}

function forgetOld(directory, name) {
  for (const entry of readdirSync(directory)) {
    const path = join(directory, entry);
    if (!entry.startsWith(`${name}-`)) continue;
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > KEPT) rmSync(path, { recursive: true, force: true });
  }
}

/** Has clippy look at a tool, unless it has passed as it is. */
function lint(name) {
  const { crate } = KNOWN[name];
  const rules = createHash("sha256").update(sections("workspace.lints")).update(fingerprintBelow(["clippy.toml"]));
  const path = pathOf(name);
  const passed = `${path}-linted-${rules.digest("hex").slice(0, 16)}`;
  if (existsSync(passed)) return console.log(`parlance: ${name} has passed before, as it is`);
  cargo(["clippy", "--locked", "--quiet", "--profile", PROFILE, "-p", crate, "--all-targets", "--", "-D", "warnings"], "inherit");
  mkdirSync(dirname(passed), { recursive: true });
  if (pathOf(name) === path) writeFileSync(passed, "");
}

if (process.argv[1] === import.meta.filename) {
  const parameters = process.argv.slice(2);
  if (parameters[0] === "--lint") parameters.slice(1).forEach(lint);
  else for (const name of parameters) console.log(`parlance: ${name}: ${tool(name)}`);
}
