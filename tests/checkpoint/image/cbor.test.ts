import { decode as cborgDecode, encode as cborgEncode, rfc8949EncodeOptions } from "cborg";
import { expect, test, vi } from "vitest";
import { Prng } from "../../../base/random.ts";
import {
  CborError,
  type CborValue,
  decodeCbor,
  DEPTH_MAX,
  encodeCbor,
} from "../../../checkpoint/image/cbor.ts";
import { putCbor } from "../../../checkpoint/image/cbor_put.ts";
import { hex, randomText, randomValue, unhex } from "./values.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines differ, and none of this is about time

/** RFC 8949 appendix A, the values that images may hold. */
const VECTORS: [string, CborValue][] = [
  ["00", 0],
  ["01", 1],
  ["0a", 10],
  ["17", 23],
  ["1818", 24],
  ["1819", 25],
  ["1864", 100],
  ["1903e8", 1000],
  ["1a000f4240", 1000000],
  ["1b000000e8d4a51000", 1000000000000],
  ["1bffffffffffffffff", 18446744073709551615n],
  ["20", -1],
  ["29", -10],
  ["3863", -100],
  ["3903e7", -1000],
  ["fb3ff199999999999a", 1.1],
  ["f93e00", 1.5],
  ["fb7e37e43c8800759c", 1.0e+300],
  ["f90001", 5.960464477539063e-8],
  ["f90400", 0.00006103515625],
  ["fa7f7fffff", 3.4028234663852886e+38],
  ["fbc010666666666666", -4.1],
  ["f4", false],
  ["f5", true],
  ["f6", null],
  ["40", new Uint8Array(0)],
  ["4401020304", Uint8Array.of(1, 2, 3, 4)],
  ["60", ""],
  ["6161", "a"],
  ["6449455446", "IETF"],
  ["62225c", '"\\'],
  ["62c3bc", "ü"],
  ["63e6b0b4", "水"],
  ["64f0908591", "𐅑"],
  ["80", []],
  ["83010203", [1, 2, 3]],
  ["8301820203820405", [1, [2, 3], [4, 5]]],
  [
    "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
    [...Array(25).keys()].map((number) => number + 1),
  ],
  ["a0", new Map()],
  ["a201020304", new Map([[1, 2], [3, 4]])],
  ["a26161016162820203", new Map<string, CborValue>([["a", 1], ["b", [2, 3]]])],
  ["826161a161626163", ["a", new Map([["b", "c"]])]],
  [
    "a56161614161626142616361436164614461656145",
    new Map([["a", "A"], ["b", "B"], ["c", "C"], ["d", "D"], ["e", "E"]]),
  ],
];

/** The rest of appendix A: other forms, or what images do not hold; and more of the like. */
const REFUSED: [string, number][] = [
  ["f90000", 0], // 0.0, which is 0
  ["f98000", 0], // -0.0
  ["f93c00", 0], // 1.0
  ["f97bff", 0], // 65504.0
  ["fa47c35000", 0], // 100000.0
  ["f9c400", 0], // -4.0
  ["f97c00", 0], // Infinity
  ["f97e00", 0], // NaN
  ["f9fc00", 0],
  ["fa7f800000", 0],
  ["fa7fc00000", 0],
  ["fb7ff0000000000000", 0],
  ["fb7ff8000000000000", 0],
  ["f7", 0], // undefined
  ["f0", 0],
  ["f8ff", 0],
  ["c249010000000000000000", 0], // tags
  ["c11a514b67b0", 0],
  ["d818456449455446", 0],
  ["3bffffffffffffffff", 0], // below -2^63
  ["3b8000000000000000", 0],
  ["5f42010243030405ff", 0], // indefinite lengths
  ["9fff", 0],
  ["83018202039f0405ff", 5],
  ["bf61610161629f0203ffff", 0],
  ["ff", 0],
  ["1817", 0], // longer than needed
  ["1900ff", 0],
  ["1a0000ffff", 0],
  ["1b00000000ffffffff", 0],
  ["580161", 0],
  ["820118ff1817", 4], // trailing, see below
  ["fa3fc00000", 0], // 1.5 in four bytes
  ["fb3ff8000000000000", 0],
  ["1c", 0], // reserved
  ["5c", 0],
  ["fc", 0],
  ["", 0],
  ["18", 0],
  ["62c3", 0],
  ["61ff", 1], // UTF-8
  ["62c080", 1],
  ["63eda080", 1],
  ["64f4908080", 1],
  ["63e282ac00", 4],
  ["0000", 1],
  ["8201", 0], // two items in one byte
  ["820182", 2],
  ["a2026161016162", 4], // key order
  ["a201020102", 3], // duplicate
  ["a26161016161f6", 4],
  ["a1f601", 1], // keys
  ["a1fb3ff199999999999a01", 1],
  ["a11b002000000000000001", 1],
  ["a1410101", 1],
  ["9bffffffffffffffff", 0],
  ["bb7fffffffffffffff", 0],
  ["5bffffffffffffffff", 0],
];

test("encodeCbor() and decodeCbor() agree with RFC 8949 appendix A", () => {
  for (const [bytes, value] of VECTORS) {
    expect(hex(encodeCbor(value)), bytes).toBe(bytes);
    expect(decodeCbor(unhex(bytes)), bytes).toEqual(value);
  }
});

test("decodeCbor() refuses every other form and names the byte", () => {
  for (const [bytes, offset] of REFUSED) {
    const attempt = (): unknown => decodeCbor(unhex(bytes));
    expect(attempt, bytes).toThrow(CborError);
    try {
      attempt();
    } catch (error) {
      expect((error as CborError).offset, `${bytes}: ${(error as Error).message}`).toBe(offset);
    }
  }
});

test("random values survive, and cborg encodes and decodes them alike", () => {
  for (let seed = 1; seed <= 1000; seed++) {
    const prng = new Prng(seed);
    const value = randomValue(prng);
    const bytes = encodeCbor(value);
    const back = decodeCbor(bytes);
    expect(back, `seed ${seed}`).toEqual(value);
    expect(hex(encodeCbor(back)), `seed ${seed}`).toBe(hex(bytes));
    // cborg drops a byte order mark, which is a defect of TextDecoder's default that we mend.
    if (!hex(bytes).includes("efbbbf")) {
      expect(
        cborgDecode(bytes, { useMaps: true, strict: true, rejectDuplicateMapKeys: true }),
        `seed ${seed}`,
      )
        .toEqual(value);
    }
    expect(hex(cborgEncode(value, rfc8949EncodeOptions)), `seed ${seed}`).toBe(hex(bytes));
  }
});

test("every binary16 fraction is written in two bytes, subnormal ones too (where cborg takes four)", () => {
  const view = new DataView(new ArrayBuffer(3));
  view.setUint8(0, 0xf9);
  let fractions = 0;
  for (let bits = 1; bits < 0x7c00; bits++) {
    view.setUint16(1, bits);
    const value = cborgDecode(new Uint8Array(view.buffer)) as number;
    if (Number.isInteger(value)) continue;
    fractions++;
    expect(hex(encodeCbor(value))).toBe(hex(new Uint8Array(view.buffer)));
  }
  expect(fractions).toBe(31_743 - 7_167); // all, less the whole numbers up to 65,504
});

test("texts that start with byte order marks keep them", () => {
  for (let marks = 1; marks <= 3; marks++) {
    for (const length of [1, 16, 64, 65, 200]) {
      const value = [
        "b".repeat(100),
        "\ufeff".repeat(marks) + "x".repeat(length),
        new Map([["\ufeffkey", "x\ufeff"]]),
      ];
      expect(decodeCbor(encodeCbor(value))).toEqual(value);
    }
  }
});

test("equal content gives equal bytes, whatever the order of keys and the form of numbers", () => {
  const a = encodeCbor({ b: 1, aa: 2, a: 3n });
  const b = encodeCbor(new Map<string, CborValue>([["aa", 2n], ["a", 3], ["b", 1.0]]));
  expect(hex(a)).toBe("a3616103616201626161" + "02");
  expect(hex(b)).toBe(hex(a));
  expect(hex(encodeCbor([-0, 2n ** 40n]))).toBe(hex(encodeCbor([0, 2 ** 40])));
});

test("encodeCbor() refuses what images may not hold, and says where", () => {
  const refused: [unknown, RegExp][] = [
    [undefined, /value: images hold no undefined/],
    [[1, [NaN]], /value\[1\]\[0\]: NaN is not finite/],
    [{ a: [Infinity] }, /value\.a\[0\]/],
    ["\ud800", /lone surrogate/],
    [{ "\udc00": 1 }, /lone surrogate/],
    [2n ** 64n, /64 bits/],
    [-(2n ** 63n) - 1n, /64 bits/],
    [new Date(), /Date/],
    [new Uint16Array(1), /Uint16Array/],
    [new Map([[1.5, 1]]), /key/],
    [new Map([[null, 1]]), /key/],
    [() => 1, /function/],
    [new Array(3), /value\[0\]: images hold no undefined/],
    [Symbol.iterator, /symbol/],
  ];
  for (const [value, message] of refused) {
    expect(() => encodeCbor(value as CborValue)).toThrow(TypeError);
    expect(() => encodeCbor(value as CborValue)).toThrow(message);
  }
});

test("nesting has a limit, on both sides", () => {
  const nested = (depth: number): CborValue => depth === 0 ? 1 : [nested(depth - 1)];
  const most = encodeCbor(nested(DEPTH_MAX));
  expect(decodeCbor(most)).toEqual(nested(DEPTH_MAX));
  expect(() => encodeCbor(nested(DEPTH_MAX + 1))).toThrow(/deeper/);
  for (const head of [0x81, 0xa1]) { // an array of one, a map of one
    const deep = (levels: number): Uint8Array =>
      Uint8Array.from([...Array(levels).fill(head === 0x81 ? [head] : [head, 0]).flat(), 0]);
    decodeCbor(deep(DEPTH_MAX));
    expect(() => decodeCbor(deep(DEPTH_MAX + 1))).toThrow(/deeper/);
  }
  expect(() => decodeCbor(Uint8Array.of(0x81, ...most))).toThrow(/deeper/);
});

test("byte strings are plain Uint8Arrays, from Buffers too, and views of the input", () => {
  const bytes = encodeCbor([Uint8Array.of(1, 2), new Uint8Array(5000)]);
  for (const input of [bytes, Buffer.from(bytes)]) {
    const [small, large] = decodeCbor(input) as Uint8Array[];
    expect(small!.constructor).toBe(Uint8Array);
    expect(large!.constructor).toBe(Uint8Array);
    expect(small!.buffer).toBe(input.buffer);
  }
  expect(encodeCbor(Buffer.from([1, 2])).constructor).toBe(Uint8Array);
  expect(hex(encodeCbor(Buffer.from([1, 2])))).toBe("420102");
});

test("an encoding is not touched by later ones", () => {
  const first = encodeCbor(["first", 1]);
  const before = hex(first);
  for (let count = 0; count < 3000; count++) encodeCbor([count, "later", 2 ** 40]);
  expect(hex(first)).toBe(before);
});

test("decodeCbor() throws nothing but CborError, and accepts nothing that it would write otherwise", () => {
  for (let seed = 1; seed <= 3000; seed++) {
    const prng = new Prng(seed);
    let bytes = encodeCbor(randomValue(prng)).slice(0, 400);
    if (prng.chance(0.2)) prng.fill(bytes = new Uint8Array(prng.between(1, 40)));
    for (let flips = prng.between(1, 3); flips > 0; flips--) {
      bytes[prng.below(bytes.length)]! ^= 1 << prng.below(8);
    }
    try {
      expect(hex(encodeCbor(decodeCbor(bytes))), `seed ${seed}`).toBe(hex(bytes));
    } catch (error) {
      if (!(error instanceof CborError)) throw new Error(`seed ${seed}: ${error}`, { cause: error });
    }
  }
});

test("randomText covers the lengths at which decoders change their way", () => {
  expect(new Set(Array.from({ length: 400 }, (_, seed) => randomText(new Prng(seed)).length)).size)
    .toBeGreaterThan(9);
});

test("putCbor() writes what encodeCbor() gives, wherever there is room, or nothing that counts", () => {
  const into = new Uint8Array(1 << 16);
  const view = new DataView(into.buffer);
  let written = 0;
  for (let seed = 1; seed <= 3_000; seed++) {
    const prng = new Prng(seed);
    const value = randomValue(prng);
    const encoded = encodeCbor(value);
    const at = prng.below(100);
    const end = putCbor(value, view, into, at);
    if (end < 0) continue;
    written++;
    expect(hex(into.subarray(at, end)), `seed ${seed}`).toBe(hex(encoded));
    const short = new Uint8Array(Math.max(0, encoded.length - 1));
    expect(putCbor(value, new DataView(short.buffer), short, 0), `seed ${seed}`).toBe(-1);
  }
  expect(written).toBeGreaterThan(500);
  const event = [4, 0, new Uint8Array(1500).fill(7), true, -1, 1_700_000_000_000.25, -0, null, [[]]];
  expect(hex(into.subarray(0, putCbor(event, view, into, 0)))).toBe(hex(encodeCbor(event)));
  for (const no of ["text", 1n, NaN, Infinity, undefined, { a: 1 }, new Map(), [["text"]]]) {
    expect(putCbor(no as CborValue, view, into, 0)).toBe(-1);
  }
  let deep: CborValue = 1;
  for (let depth = 0; depth < DEPTH_MAX; depth++) deep = [deep];
  expect(hex(into.subarray(0, putCbor(deep, view, into, 0)))).toBe(hex(encodeCbor(deep)));
  expect(putCbor([deep], view, into, 0)).toBe(-1);
});
