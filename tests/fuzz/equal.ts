import { assert } from "../../base/assert.ts";

/** Asserts that two byte strings are the same. */
export function equalBytes(a: Uint8Array, b: Uint8Array, what: string): void {
  assert(a.length === b.length, `${what}: ${a.length} and ${b.length} bytes`);
  for (let at = 0; at < a.length; at++) {
    assert(a[at] === b[at], `${what}: byte ${at} is ${a[at]} and ${b[at]}`);
  }
}

/** Asserts that two values of CBOR are the same: maps by their order, too. */
export function equalValues(a: unknown, b: unknown, what: string): void {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return equalBytes(a, b, what);
  if (Array.isArray(a) && Array.isArray(b)) {
    assert(a.length === b.length, `${what}: ${a.length} and ${b.length} items`);
    return a.forEach((item, at) => equalValues(item, b[at], `${what}[${at}]`));
  }
  if (a instanceof Map && b instanceof Map) return equalValues([...a], [...b], what);
  assert(Object.is(a, b), `${what}: ${String(a)} and ${String(b)}`);
}
