import { expect, test } from "vitest";
import { AssertionError } from "../../base/assert.ts";
import { Prng } from "../../base/random.ts";
import { SipHash } from "../../base/siphash.ts";

/** The authors' vectors for key 00..0f and messages 00..(n-1), n = 0, 4, 8 … 60, as 64-bit numbers. */
const VECTORS = [
  0x726fdb47dd0e0e31n,
  0xcf2794e0277187b7n,
  0x93f5f5799a932462n,
  0x751e8fbc860ee5fbn,
  0x3f2acc7f57c29bdbn,
  0xbed65cf21aa2ee98n,
  0xb8ad50c6f649af94n,
  0xde4daaaca71dc9a5n,
  0x7127512f72f27ccen,
  0x314dffbe0815a3b4n,
  0x0e3ea96b5304a7d0n,
  0xf935451de4f21df2n,
  0xe612a3cb9ecba951n,
  0x0a8787bf8ecb74b2n,
  0xb78dbfaf3a8d83bdn,
  0x6ca4ecb15c5f91e1n,
];
/** And the one of the paper's appendix, for n = 15. */
const VECTOR_15 = 0xa129ca6149be45e5n;

const ASCENDING = Uint8Array.from({ length: 64 }, (_, at) => at);

/** The slow twin: the paper, in BigInt, over bytes. */
function sipHash(key: Uint8Array, message: Uint8Array): bigint {
  const mask = (1n << 64n) - 1n;
  const read = (bytes: Uint8Array, at: number): bigint => {
    let word = 0n;
    for (let byte = 7; byte >= 0; byte--) word = (word << 8n) | BigInt(bytes[at + byte]!);
    return word;
  };
  const rotate = (x: bigint, bits: bigint): bigint => ((x << bits) | (x >> (64n - bits))) & mask;
  const k0 = read(key, 0), k1 = read(key, 8);
  let v0 = k0 ^ 0x736f6d6570736575n, v1 = k1 ^ 0x646f72616e646f6dn;
  let v2 = k0 ^ 0x6c7967656e657261n, v3 = k1 ^ 0x7465646279746573n;
  const rounds = (count: number): void => {
    for (; count > 0; count--) {
      v0 = (v0 + v1) & mask;
      v1 = rotate(v1, 13n) ^ v0;
      v0 = rotate(v0, 32n);
      v2 = (v2 + v3) & mask;
      v3 = rotate(v3, 16n) ^ v2;
      v0 = (v0 + v3) & mask;
      v3 = rotate(v3, 21n) ^ v0;
      v2 = (v2 + v1) & mask;
      v1 = rotate(v1, 17n) ^ v2;
      v2 = rotate(v2, 32n);
    }
  };
  const padded = new Uint8Array((Math.floor(message.length / 8) + 1) * 8);
  padded.set(message);
  padded[padded.length - 1] = message.length;
  for (let at = 0; at < padded.length; at += 8) {
    const word = read(padded, at);
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  }
  v2 ^= 0xffn;
  rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

function words(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, at) => view.getUint32(4 * at, true));
}

function result(hash: SipHash): bigint {
  return (BigInt(hash.hi >>> 0) << 32n) | BigInt(hash.lo >>> 0);
}

test("words() gives the published vectors", () => {
  const hash = new SipHash(words(ASCENDING.subarray(0, 16)));
  VECTORS.forEach((vector, count) => {
    expect(hash.words(words(ASCENDING), count)).toBe(Number(BigInt.asIntN(32, vector)));
    expect(result(hash), `${4 * count} bytes`).toBe(vector);
  });
});

test("words3() and words() agree with a twin in BigInt, which gives the published vectors too", () => {
  const key = ASCENDING.subarray(0, 16);
  expect(sipHash(key, ASCENDING.subarray(0, 15))).toBe(VECTOR_15);
  VECTORS.forEach((vector, count) => expect(sipHash(key, ASCENDING.subarray(0, 4 * count))).toBe(vector));

  const prng = new Prng(5);
  for (let round = 0; round < 1_000; round++) {
    const key = new Uint8Array(16);
    const message = new Uint8Array(4 * (round % 10));
    for (const bytes of [key, message]) {
      if (prng.chance(0.2)) bytes.fill(prng.pick([0, 255, 128])); // carries and signs
      else prng.fill(bytes);
    }
    const hash = new SipHash(words(key));
    const low = hash.words(words(message), message.length / 4);
    expect(result(hash), `round ${round}`).toBe(sipHash(key, message));
    if (message.length === 12) {
      const [a, b, c] = words(message);
      expect(hash.words3(a!, b!, c!)).toBe(low);
      expect(hash.words3(a! | 0, b! | 0, c! | 0)).toBe(low);
    }
  }
});

test("The first sum carries from 2^32 on, not from 2^32 - 1", () => {
  for (const low of [0, 1]) {
    // These words make the low halves of v0 and v1 `low` and 2^32 - 1
    const key = Uint32Array.of(0x7073_6575 ^ low, 0, ~0x6e64_6f6d, 0);
    const hash = new SipHash(key);
    hash.words(key, 0);
    expect(result(hash)).toBe(sipHash(new Uint8Array(key.buffer), new Uint8Array(0)));
  }
});

test("The length counts modulo 256 bytes, as the paper says", () => {
  const hash = new SipHash(words(ASCENDING.subarray(0, 16)));
  for (const count of [63, 64, 65]) {
    hash.words(new Uint32Array(65), count);
    expect(result(hash)).toBe(sipHash(ASCENDING.subarray(0, 16), new Uint8Array(4 * count)));
  }
});

test("A key is four words, copied", () => {
  for (const length of [3, 5]) expect(() => new SipHash(new Uint32Array(length))).toThrow(AssertionError);
  const key = Uint32Array.of(1, 2, 3, 4);
  const hash = new SipHash(key);
  const before = hash.words3(5, 6, 7);
  key.fill(0);
  expect(hash.words3(5, 6, 7)).toBe(before);
});
