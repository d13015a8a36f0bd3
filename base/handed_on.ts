/**
 * What a field holds first that hands numbers on to others: deadlines and times, which are doubles.
 *
 * V8 keeps a field that has only ever held doubles as a bare double, and makes a number of 16 bytes each time that it is
 * given to a function. A field that has held something else keeps the number itself, which is then only handed on.
 *
 * @example
 * ```ts
 * import { HANDED_ON } from "@torpor/torpor/base/handed_on.ts";
 * class Turn {
 *   nowMs: number = HANDED_ON;
 * }
 * ```
 */
export const HANDED_ON: number = undefined as unknown as number;
