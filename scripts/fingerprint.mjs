// What a build was made from, judged by content: a switch of branches and back costs nothing.
//
// Must not run or download anything.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const NOT_INPUTS = new Set(["build", "target", "node_modules"]);

/** Every file below the directory `path` of the repository, in a fixed order. */
function filesBelow(path) {
  const absolute = join(root, path);
  if (!existsSync(absolute)) return [];
  const entries = readdirSync(absolute, { withFileTypes: true, throwIfNoEntry: false });
  return entries
    .filter((entry) => !NOT_INPUTS.has(entry.name) && !entry.name.startsWith("."))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) =>
      entry.isDirectory() ? filesBelow(join(path, entry.name)) : [join(path, entry.name)],
    );
}

/** The hash of the names and contents of `files`; one that is not there counts as such. */
export function fingerprint(files) {
  const hash = createHash("sha256");
  for (const file of files) {
    const absolute = join(root, file);
    if (!existsSync(absolute)) continue;
    const content = readFileSync(absolute);
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** The hash of all files that `paths`, files and directories of the repository, lead to. */
export function fingerprintBelow(paths) {
  const files = [...new Set(paths)].flatMap((path) =>
    /\.(toml|lock|json|mjs)$/.test(path) ? [path] : filesBelow(path),
  );
  return fingerprint(files);
}

/** `bytes` for people. */
export function size(bytes) {
  return `${(bytes / 1024).toFixed(0)} KiB`;
}

/** The name of the package in the directory `crate`. */
export function packageOf(crate) {
  const manifest = readFileSync(join(root, crate, "Cargo.toml"), "utf8");
  return manifest.match(/^name = "(.*)"$/m)[1];
}
