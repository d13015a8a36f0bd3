/** A broken invariant: a bug in Torpor, never a bad packet, file or argument. */
export class AssertionError extends Error {
  override name = "AssertionError";
}

/**
 * Stops the program when an invariant is broken. Asserts stay on in production.
 *
 * @throws {AssertionError} When `condition` is false.
 * @example
 * ```ts
 * import { assert } from "@torpor/torpor/base/assert.ts";
 * assert(1 + 1 === 2, "arithmetic works");
 * ```
 */
export function assert(condition: unknown, message = "Invariant broken"): asserts condition {
  if (!condition) throw new AssertionError(message);
}
