// Which crates are compiled for what.
//
// What means something only as WebAssembly is neither checked nor tested natively, but for
// durable-objects, whose translations have native tests.

/** Crates for Workers. */
export const WORKERS = ["parlance-worker", "parlance-durable-objects", "parlance-test-worker"];
/** Components for Spin. */
export const COMPONENTS = ["parlance-spin", "parlance-sql-spin"];
/** Programs that are kept for all clones (tools.mjs). */
export const TOOLS = ["parlance-bindgen", "parlance-spin-host"];

/**
 * All that is compiled natively, as cargo is told. Always the same choice: another one would turn on
 * other features somewhere, and have half of it compiled anew.
 */
export const NATIVE = [
  "--workspace",
  ...[...WORKERS, ...COMPONENTS, ...TOOLS]
    .filter((name) => name !== "parlance-durable-objects")
    .flatMap((name) => ["--exclude", name]),
];

/** These packages, as cargo is told. */
export function these(...packages) {
  return packages.flatMap((name) => ["--package", name]);
}
