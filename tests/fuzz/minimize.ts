import { execute } from "./fuzzer.ts";
import type { Target } from "./target.ts";

/** Executions that one crash is worth. */
const TRIES_MAX = 20_000;

/**
 * A shorter and simpler input that crashes the target at the same place: pieces are left out, the largest
 * first, then what is left becomes zeros as far as possible.
 */
export async function minimize(
  target: Target,
  input: Uint8Array<ArrayBuffer>,
  key: string,
): Promise<Uint8Array<ArrayBuffer>> {
  let best = input;
  let tries = TRIES_MAX;
  const holds = async (candidate: Uint8Array<ArrayBuffer>): Promise<boolean> => {
    if (tries-- <= 0) return false;
    const crash = await execute(target, candidate);
    if (crash?.key !== key) return false;
    best = candidate;
    return true;
  };
  for (let before = -1; before !== best.length && tries > 0;) {
    before = best.length;
    for (let size = Math.max(1, best.length >> 1); size >= 1; size >>= 1) {
      for (let at = 0; at < best.length;) {
        const shorter = new Uint8Array(best.length - Math.min(size, best.length - at));
        shorter.set(best.subarray(0, at));
        shorter.set(best.subarray(at + size), at);
        if (!await holds(shorter)) at += size;
      }
    }
  }
  for (let at = 0; at < best.length; at++) {
    for (const value of [0, 1, 0x20]) {
      if (best[at]! <= value) break;
      const simpler = best.slice();
      simpler[at] = value;
      if (await holds(simpler)) break;
    }
  }
  return best;
}
