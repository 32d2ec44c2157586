// How the foreign client tells that the server broke a promise of the protocol.

export class Violation extends Error {}

/** `told` is a text, or a function that makes one. */
export function check(holds, told) {
  if (!holds) throw new Violation(typeof told === "function" ? told() : told);
}
