// What a wrangler.toml says, as options for Miniflare.
//
// wrangler itself reads the file, so that nothing is understood differently here. Loading
// wrangler takes longer than starting workerd, so its answer is kept in node_modules/.cache
// until one of the files that it depends on changes.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";

const root = resolve(import.meta.dirname, "..");

/**
 * Reads `config` (the path of a wrangler.toml) and the .dev.vars beside it.
 * Returns `{ name, main, worker, externalWorkers }`: the Worker's name, the absolute path of
 * its entry module, and options in the form that `convertV4MiniflareOptions` takes.
 */
export async function readWorkerOptions(config) {
  const directory = dirname(config);
  const sources = [
    config,
    join(root, "package-lock.json"),
    ...[".dev.vars", ".env", ".env.local"].map((name) => join(directory, name)),
  ];
  const hash = createHash("sha256").update(process.env.CLOUDFLARE_ENV ?? "");
  for (const file of sources) hash.update(`\0${file}\0${read(file) ?? ""}`);
  const cached = join(root, "node_modules", ".cache", "parlance", `${hash.digest("hex")}.json`);

  const known = read(cached);
  if (known !== undefined) return JSON.parse(known);
  const options = await ask(config);
  // Only plain data survives the cache; anything else is asked for anew each time.
  const json = JSON.stringify(options);
  if (isDeepStrictEqual(JSON.parse(json), options)) {
    mkdirSync(dirname(cached), { recursive: true });
    const partial = `${cached}.${process.pid}`;
    // It holds the values of .dev.vars.
    writeFileSync(partial, json, { mode: 0o600 });
    renameSync(partial, cached);
  }
  return options;
}

async function ask(config) {
  process.env.WRANGLER_LOG ??= "error";
  process.env.WRANGLER_SEND_METRICS ??= "false";
  const { unstable_getMiniflareWorkerOptions, unstable_readConfig } = await import("wrangler");
  const settings = unstable_readConfig({ config });
  const { workerOptions, main, externalWorkers } = unstable_getMiniflareWorkerOptions(settings);
  // Which files are modules is said by whoever serves them.
  const { modulesRules: _, ...worker } = defined(workerOptions);
  return { name: settings.name, main, worker, externalWorkers: defined(externalWorkers) };
}

/** `value` without properties that are undefined, which JSON does not keep. */
function defined(value) {
  if (Array.isArray(value)) return value.map(defined);
  if (value === null || Object.getPrototypeOf(Object(value)) !== Object.prototype) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, property]) => property !== undefined)
      .map(([key, property]) => [key, defined(property)]),
  );
}

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}
