import type { Prng } from "../../base/random.ts";

/** Values at which lengths and counters turn over. */
const INTERESTING = [
  ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 20, 31, 32, 40, 60, 63, 64, 100, 127, 128, 254, 255],
  ...[256, 511, 512, 576, 1000, 1024, 1280, 1460, 1500, 4095, 4096, 0x7fff, 0x8000, 0xfffe, 0xffff],
  ...[0x1_0000, 0xff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff],
];
const WIDTHS = [1, 1, 2, 2, 4] as const;
/** Bytes that one insertion or duplication adds at most. */
const INSERT_MAX = 64;

/** What mutations draw from beside the input itself. */
export interface Material {
  readonly words: readonly Uint8Array[];
  /** Another input of the corpus. */
  other(): Uint8Array;
}

/** One to sixteen changes to a copy of `input`. */
export function mutate(
  input: Uint8Array,
  prng: Prng,
  material: Material,
  bytesMax: number,
): Uint8Array<ArrayBuffer> {
  const room = new Uint8Array(bytesMax + INSERT_MAX);
  room.set(input.subarray(0, bytesMax));
  let length = Math.min(input.length, bytesMax);
  for (let changes = 1 << prng.below(5); changes > 0; changes--) {
    length = Math.min(bytesMax, change(room, length, prng, material));
  }
  return room.slice(0, length);
}

/** Changes `bytes[0, length)`, behind which INSERT_MAX bytes of room are, and returns the new length. */
function change(bytes: Uint8Array, length: number, prng: Prng, material: Material): number {
  if (length === 0) return insert(bytes, 0, 0, randomBytes(prng, prng.between(1, 8)));
  const at = prng.below(length);
  switch (prng.below(12)) {
    case 0:
      bytes[at]! ^= 1 << prng.below(8);
      return length;
    case 1:
      bytes[at] = prng.uint32();
      return length;
    case 2: {
      const width = prng.pick(WIDTHS);
      const add = prng.between(1, 35) * (prng.chance(0.5) ? 1 : -1);
      const little = prng.chance(0.2);
      put(bytes, length, at, width, get(bytes, length, at, width, little) + add, little);
      return length;
    }
    case 3: {
      const value = prng.pick(INTERESTING);
      put(bytes, length, at, prng.pick(WIDTHS), prng.chance(0.1) ? -value : value, prng.chance(0.2));
      return length;
    }
    case 4: { // a length that fits what is there
      const value = prng.pick([length - at, length - at - 1, length - at - 2, length - at - 4, length, at]);
      put(bytes, length, at, prng.pick([1, 2, 4]), value, false);
      return length;
    }
    case 5:
    case 6: {
      const count = prng.between(1, Math.min(length - at, prng.chance(0.8) ? 8 : length));
      bytes.copyWithin(at, at + count, length);
      return length - count;
    }
    case 7: {
      const count = prng.between(1, prng.chance(0.8) ? 8 : INSERT_MAX);
      const piece = prng.chance(0.5)
        ? randomBytes(prng, count)
        : new Uint8Array(count).fill(prng.pick([0, 255]));
      return insert(bytes, length, at, piece);
    }
    case 8: {
      const count = prng.between(1, Math.min(length - at, INSERT_MAX));
      return insert(bytes, length, prng.below(length + 1), bytes.slice(at, at + count));
    }
    case 9: {
      const count = prng.between(1, Math.min(length - at, INSERT_MAX));
      bytes.copyWithin(prng.below(length - count + 1), at, at + count);
      return length;
    }
    case 10: {
      const other = material.other();
      if (other.length === 0) return length;
      const from = prng.below(other.length);
      const piece = other.subarray(from, from + prng.between(1, INSERT_MAX));
      if (prng.chance(0.5)) return insert(bytes, length, at, piece);
      bytes.set(piece.subarray(0, length - at), at);
      return length;
    }
    default: {
      if (material.words.length === 0) return length;
      const word = prng.pick(material.words).subarray(0, INSERT_MAX);
      if (prng.chance(0.5)) return insert(bytes, length, at, word);
      bytes.set(word.subarray(0, length - at), at);
      return length;
    }
  }
}

function insert(bytes: Uint8Array, length: number, at: number, piece: Uint8Array): number {
  const count = Math.min(piece.length, bytes.length - length);
  bytes.copyWithin(at + count, at, length);
  bytes.set(piece.subarray(0, count), at);
  return length + count;
}

function randomBytes(prng: Prng, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  prng.fill(bytes);
  return bytes;
}

function get(bytes: Uint8Array, length: number, at: number, width: number, little: boolean): number {
  let value = 0;
  for (let i = 0; i < width; i++) {
    const place = at + (little ? width - 1 - i : i);
    value = value * 256 + (place < length ? bytes[place]! : 0);
  }
  return value;
}

function put(
  bytes: Uint8Array,
  length: number,
  at: number,
  width: number,
  value: number,
  little: boolean,
): void {
  for (let i = 0; i < width; i++) {
    const place = at + (little ? i : width - 1 - i);
    if (place < length) bytes[place] = Math.floor(value / 256 ** i);
  }
}
