// Writes .dev.vars, the secrets of development, on the first run. `make dev` and plain
// `npx wrangler dev` both read it.
//
//   node scripts/dev-vars.mjs
//
// Always holds: an existing .dev.vars is never touched, since tokens and phone number
// hashes in stored state depend on its keys; a new one is complete and readable by its
// owner alone (mode 600). Must not be used for a deployment: its secrets are set with
// `npx wrangler secret put`.

import { randomBytes } from "node:crypto";
import { existsSync, linkSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

const file = resolve(import.meta.dirname, "..", ".dev.vars");

if (!existsSync(file)) {
  const kid = `dev-${randomBytes(4).toString("hex")}`;
  const key = () => randomBytes(32).toString("base64url");
  const partial = `${file}.${process.pid}`;
  writeFileSync(
    partial,
    `# Secrets of development on this machine, made by \`make dev\`. Never commit or deploy them.
# Delete this file for new ones: old tokens and accounts in .state/ are then useless.
DEVELOPMENT="1"
CODE_PROVIDER="dev"
TOKEN_KEYS="${kid}:${key()}"
PHONE_HASH_KEY="${key()}"
ADMIN_TOKEN="${key()}"
`,
    { mode: 0o600, flag: "wx" },
  );
  try {
    // A link never replaces a file that another run made in the meantime.
    linkSync(partial, file);
    console.log("parlance: wrote development keys to .dev.vars");
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  } finally {
    rmSync(partial);
  }
}
