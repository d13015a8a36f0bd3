import type { Prng } from "../../../base/random.ts";
import type { CborValue } from "../../../checkpoint/image/cbor.ts";

/** A random value of the allowed kind; maps are `Map`s, as decoding gives them. */
export function randomValue(prng: Prng, depth = 0): CborValue {
  switch (prng.below(depth < 4 ? 11 : 8)) {
    case 0:
      return prng.pick([null, true, false]);
    case 1:
      return prng.below(2 ** prng.below(33)) * (prng.chance(0.5) ? 1 : -1) + 0; // + 0: no -0
    case 2:
      return Math.floor((prng.fraction() - 0.5) * 2 ** prng.between(33, 54)) + 0;
    case 3:
      return wide(prng);
    case 4:
      return float(prng);
    case 5:
    case 6:
      return randomText(prng);
    case 7: {
      const bytes = new Uint8Array(prng.pick([0, 1, 23, 24, 40, 255, 256, 300]));
      prng.fill(bytes);
      return bytes;
    }
    case 8: {
      const map = new Map<string | number, CborValue>();
      for (let count = prng.below(6); count > 0; count--) {
        const key = prng.chance(0.5) ? randomText(prng) : prng.below(2 ** prng.below(40)) - prng.below(600);
        map.set(key, randomValue(prng, depth + 1));
      }
      return map;
    }
    default:
      return Array.from({ length: prng.pick([0, 1, 3, 23, 24, 30]) }, () => randomValue(prng, depth + 2));
  }
}

/** An integer that no number holds. */
function wide(prng: Prng): bigint {
  const bits = (BigInt(prng.uint32()) << 32n) | BigInt(prng.uint32());
  const value = prng.chance(0.5) ? bits : -(bits >> 1n) - 1n;
  return Number.isSafeInteger(Number(value)) ? 2n ** 60n : value;
}

function float(prng: Prng): number {
  const value = prng.pick([
    () => prng.fraction(),
    () => Math.fround(prng.fraction() * 2 ** prng.between(-140, 120)),
    () => 1 + prng.below(1024) / 1024,
    () => prng.fraction() * 2 ** prng.between(-1000, 1000),
    () => 5e-324,
  ])();
  return prng.chance(0.5) ? -value : value;
}

const ALPHABET = [
  "a",
  "Z",
  "0",
  "\u0000",
  "ü",
  "€",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "😀",
  "\u{10ffff}",
  "\ufeff",
];

export function randomText(prng: Prng): string {
  const length = prng.pick([0, 1, 5, 15, 16, 23, 24, 31, 32, 63, 64, 65, 100, 300]);
  const plain = prng.chance(0.5);
  return Array.from({ length }, () => plain ? "k" : prng.pick(ALPHABET)).join("");
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function unhex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
