// The module that the runtime loads: it hands events to what wasm-bindgen exports, and begins the
// WebAssembly instance anew after a panic has made it unusable.
//
// A panic ends in a trap. Memory is then in an unknown state, so the next event gets a fresh
// instance; an object of the old one is made anew, from what it has stored, when it is next
// called. After the shim of worker-build 0.8.7 (Cloudflare, Apache-2.0), whose program takes too
// long to compile; the crate `worker` and it belong together, so an update of the crate is to be read
// against it.

/** What the JavaScript that wasm-bindgen made exports: names of functions and of classes. */
export function exportsOf(javascript) {
  const named = (pattern) => [...javascript.matchAll(pattern)].map(([, name]) => name);
  const functions = [
    ...named(/^export (?:async )?function (\w+)\(/gm),
    ...named(/^export \{ ?\w+ as (\w+) ?\}/gm),
  ];
  return {
    functions: functions.filter((name) => !INTERNAL.has(name)),
    classes: named(/^export class (\w+) /gm),
  };
}

/** The shim for a Worker that exports these. It lies beside `index.js`. */
export function shim({ functions, classes }) {
  const handlers = functions.map((name) =>
    EVENTS.has(name)
      ? `Entrypoint.prototype.${name} = function (event) { return exports.${name}.call(this, event, this.env, this.ctx); };`
      : `Entrypoint.prototype.${name} = exports.${name};`,
  );
  const objects = classes.map((name) => `export const ${name} = new Proxy(exports.${name}, renewed);`);
  return [PRELUDE, ...handlers, ...objects, "export default new Proxy(Entrypoint, renewed);", ""].join("\n");
}

/** Functions that the shim itself calls. */
const INTERNAL = new Set(["__wbg_reset_state", "__worker_init_state"]);
/** Exports of the crate `worker` that take an event, the bindings and the context. */
const EVENTS = new Set(["fetch", "queue", "scheduled", "email", "connect"]);

const PRELUDE = `import { WorkerEntrypoint } from "cloudflare:workers";
import * as exports from "./index.js";

Error.stackTraceLimit = 100;
// { criticalError, instanceId }; the panic hook of the crate sets the former.
const state = exports.__worker_init_state();

function renewIfBroken() {
  if (!state.criticalError) return;
  console.log("Reinitializing Wasm application");
  exports.__wbg_reset_state();
  state.criticalError = false;
  state.instanceId += 1;
}

function note(error) {
  if (!(error instanceof WebAssembly.RuntimeError)) return;
  console.error("Critical", error);
  state.criticalError = true;
}

// What is thrown where nobody waits for it.
addEventListener("error", (event) => note(event.error));

/** A method that begins with a whole instance, and notes when it has broken it. */
function guarded(method) {
  if (method.constructor === Function) {
    return new Proxy(method, {
      apply(target, self, args) {
        renewIfBroken();
        try {
          return target.apply(self, args);
        } catch (error) {
          note(error);
          throw error;
        }
      },
    });
  }
  return new Proxy(method, {
    async apply(target, self, args) {
      renewIfBroken();
      try {
        return await target.apply(self, args);
      } catch (error) {
        note(error);
        throw error;
      }
    },
  });
}

// The runtime sees a proxy of an object, whose target holds the real one.
const ofInstance = {
  get(target, property, receiver) {
    if (target.instanceId !== state.instanceId) {
      target.instance = Reflect.construct(target.constructed, target.args, target.newTarget);
      target.instanceId = state.instanceId;
    }
    const found = Reflect.get(target.instance, property, receiver);
    return typeof found === "function" ? guarded(found) : found;
  },
  set: (target, ...rest) => Reflect.set(target.instance, ...rest),
  has: (target, property) => Reflect.has(target.instance, property),
  deleteProperty: (target, property) => Reflect.deleteProperty(target.instance, property),
  getPrototypeOf: (target) => Reflect.getPrototypeOf(target.instance),
  setPrototypeOf: (target, prototype) => Reflect.setPrototypeOf(target.instance, prototype),
  isExtensible: (target) => Reflect.isExtensible(target.instance),
  preventExtensions: (target) => Reflect.preventExtensions(target.instance),
  getOwnPropertyDescriptor: (target, property) => Reflect.getOwnPropertyDescriptor(target.instance, property),
  defineProperty: (target, property, descriptor) => Reflect.defineProperty(target.instance, property, descriptor),
  ownKeys: (target) => Reflect.ownKeys(target.instance),
};

/** Classes whose instances outlive the WebAssembly instance. */
const renewed = {
  construct(constructed, args, newTarget) {
    try {
      renewIfBroken();
      const instance = Reflect.construct(constructed, args, newTarget);
      return new Proxy({ instance, instanceId: state.instanceId, constructed, args, newTarget }, ofInstance);
    } catch (error) {
      state.criticalError = true;
      throw error;
    }
  },
};
class Entrypoint extends WorkerEntrypoint {}
`;
