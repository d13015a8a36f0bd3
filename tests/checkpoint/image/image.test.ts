import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { Prng } from "../../../base/random.ts";
import { encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { BODY_BYTES_MAX, CHUNK_BYTES_MAX, readFrame } from "../../../checkpoint/image/frame.ts";
import { partAt } from "../../../checkpoint/image/locate.ts";
import {
  explainImage,
  ImageError,
  imagePieces,
  Kind,
  kindInfo,
  readImage,
  verifyChunk,
  verifyImage,
  verifyPieces,
  writeImage,
} from "../../../checkpoint/image/mod.ts";
import { decodeTagged, Mismatch, schema } from "./cddl.ts";
import { samples } from "./samples.ts";
import { hex, randomValue } from "./values.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines differ, and none of this is about time

const cddl = schema(readFileSync(new URL("../../../checkpoint/image/image.cddl", import.meta.url), "utf8"));

test("every sample image is read back, is deterministic and matches image.cddl", () => {
  for (const [name, content] of Object.entries(samples())) {
    const bytes = writeImage(content);
    const image = readImage(bytes);
    expect(image.kind, name).toBe(content.kind);
    expect(hex(encodeCbor(image.body)), name).toBe(hex(encodeCbor(content.body)));
    expect(image.chunks.map(hex), name).toEqual((content.chunks ?? []).map(hex));
    expect(hex(writeImage(image)), name).toBe(hex(bytes));
    expect(verifyImage(bytes).ok, name).toBe(true);
    cddl.check("image", decodeTagged(bytes));
  }
});

test("image.cddl refuses what is no image", () => {
  const bytes = writeImage(samples().small!);
  const value = decodeTagged(bytes) as { value: unknown[] };
  for (const index of value.value.keys()) {
    const kept = value.value[index];
    value.value[index] = "no";
    expect(() => cddl.check("image", value), `field ${index}`).toThrow(Mismatch);
    value.value[index] = kept;
  }
  value.value.push(1);
  expect(() => cddl.check("image", value)).toThrow(Mismatch);
});

test("a small image's frame takes at most 20 bytes", () => {
  for (const length of [0, 10, 23, 24, 255, 256, 60_000]) {
    const body = new Uint8Array(length);
    expect(writeImage({ kind: Kind.Socket, body }).length - encodeCbor(body).length).toBeLessThanOrEqual(20);
  }
});

test("every flipped bit of small images is refused, and named to the bit", () => {
  for (const name of ["small", "socket", "map", "chunked"]) {
    const bytes = writeImage(samples()[name]!);
    const frame = readFrame(bytes);
    for (let at = 0; at < bytes.length; at++) {
      const part = partAt(frame, at);
      for (let bit = 0; bit < 8; bit++) {
        if (name === "socket" && bit !== at % 8) continue; // the longest: one bit of each byte
        bytes[at]! ^= 1 << bit;
        const error = failure(() => readImage(bytes));
        expect(error, `${name} byte ${at} bit ${bit}`).toBeInstanceOf(ImageError);
        expect(error.part, `${name} byte ${at} bit ${bit}: ${error.message}`).toBe(part);
        const report = verifyImage(bytes);
        expect(report.parts.filter((found) => !found.ok).map((found) => found.part), `${name} ${at}.${bit}`)
          .toEqual([part]);
        bytes[at]! ^= 1 << bit;
      }
    }
  }
});

test("flipped bits of a large image are refused, and named by part", () => {
  const bytes = writeImage(samples().large!);
  const frame = readFrame(bytes);
  const prng = new Prng(5);
  const chunkFrames = frame.chunks.flatMap((
    chunk,
  ) => [chunk.start - 1, chunk.start - 3, chunk.end, chunk.hashStart]);
  const places = [...Array(9).keys(), frame.chunksStart, ...chunkFrames, bytes.length - 9, bytes.length - 1];
  for (let count = 0; count < 40; count++) places.push(prng.below(bytes.length));
  for (const at of places) {
    const bit = prng.below(8);
    bytes[at]! ^= 1 << bit;
    const error = failure(() => readImage(bytes));
    expect(error.part, `byte ${at} bit ${bit}: ${error.message}`).toBe(partAt(frame, at));
    bytes[at]! ^= 1 << bit;
  }
});

test("hashes that differ are told, expected and found", () => {
  const bytes = writeImage(samples().chunked!);
  const frame = readFrame(bytes);
  bytes[frame.chunks[1]!.start + 3]! ^= 1;
  expect(failure(() => readImage(bytes)).message).toMatch(
    /^Cannot open image: chunk 1 at byte \d+ hashes to [0-9a-f]{16}, need [0-9a-f]{16}$/,
  );
  expect(() => verifyChunk(bytes, frame, 0)).not.toThrow();
  expect(() => verifyChunk(bytes, frame, 1)).toThrow(ImageError);
  expect(readImage(bytes, { lazyChunks: true }).chunks.length).toBe(3);
});

test("every truncation and every extension is refused", async () => {
  for (const name of ["small", "socket", "chunked"]) {
    const bytes = writeImage(samples()[name]!);
    for (let end = 0; end < bytes.length; end++) {
      expect(failure(() => readImage(bytes.subarray(0, end))), `${name} ${end}`).toBeInstanceOf(ImageError);
      await expect(verifyPieces([bytes.subarray(0, end)]), `${name} ${end}`).rejects.toBeInstanceOf(
        ImageError,
      );
    }
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    expect(failure(() => readImage(longer)).offset).toBe(bytes.length);
    await expect(verifyPieces([longer])).rejects.toBeInstanceOf(ImageError);
  }
});

test("piecewise writing gives the same bytes, piecewise verifying the same verdicts", async () => {
  for (const [name, content] of Object.entries(samples())) {
    const bytes = writeImage(content);
    const pieces: Uint8Array[] = [];
    for await (const piece of imagePieces(content, content.chunks?.length ?? 0, content.chunks ?? [])) {
      pieces.push(piece.slice());
    }
    expect(hex(join(pieces)), name).toBe(hex(bytes));
    const prng = new Prng(bytes.length);
    const cuts: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const next = Math.min(bytes.length, at + prng.below(bytes.length > 1000 ? 5000 : 9));
      cuts.push(bytes.subarray(at, next));
      at = next;
    }
    expect(await verifyPieces(cuts), name).toBe(bytes.length);
  }
  const bytes = writeImage(samples().chunked!);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at]! ^= 0x10;
    await expect(verifyPieces([bytes]), `byte ${at}`).rejects.toBeInstanceOf(ImageError);
    bytes[at]! ^= 0x10;
  }
});

test("piecewise writing refuses more or fewer chunks than it was told", async () => {
  for (const count of [1, 3]) {
    const run = async (): Promise<void> => {
      const chunks = [new Uint8Array(1), new Uint8Array(2)];
      for await (const piece of imagePieces({ kind: Kind.Guest, body: null }, count, chunks)) void piece;
    };
    await expect(run()).rejects.toThrow(RangeError);
  }
});

test("limits hold on both sides", () => {
  const chunk = new Uint8Array(CHUNK_BYTES_MAX);
  expect(readImage(writeImage({ kind: Kind.Guest, body: null, chunks: [chunk] })).chunks[0]!.length).toBe(
    chunk.length,
  );
  expect(() => writeImage({ kind: Kind.Guest, body: null, chunks: [new Uint8Array(CHUNK_BYTES_MAX + 1)] }))
    .toThrow(RangeError);
  expect(() => writeImage({ kind: Kind.Guest, body: new Uint8Array(BODY_BYTES_MAX) })).toThrow(RangeError);
  for (const version of [0, kindInfo(Kind.Guest)!.version + 1, 1.5]) {
    expect(() => writeImage({ kind: Kind.Guest, version, body: null })).toThrow(RangeError);
  }
  expect(() => writeImage({ kind: 99 as Kind, body: null })).toThrow(RangeError);
});

test("readImage() throws nothing but ImageError", () => {
  const all = Object.values(samples()).map((content) => writeImage(content)).filter((bytes) =>
    bytes.length < 2000
  );
  for (let seed = 1; seed <= 150; seed++) {
    const prng = new Prng(seed);
    const bytes = prng.pick(all).slice();
    for (let flips = prng.between(2, 6); flips > 0; flips--) bytes[prng.below(bytes.length)] = prng.uint32();
    const cut = bytes.subarray(prng.below(3), bytes.length - prng.below(3));
    const error = failure(() => readImage(cut), true);
    if (error && !(error instanceof ImageError)) throw new Error(`seed ${seed}: ${error}`);
    expect(() => explainImage(cut)).not.toThrow();
  }
});

test("random bodies survive", () => {
  for (let seed = 1; seed <= 150; seed++) {
    const body = randomValue(new Prng(seed));
    expect(readImage(writeImage({ kind: Kind.Object, body })).body, `seed ${seed}`).toEqual(body);
  }
});

test("explainImage() names fields, bytes and verdicts", () => {
  const bytes = writeImage(samples().small!);
  expect(explainImage(bytes)).toBe(
    `object image, version 1, 26 bytes
  byte 9  field 0 = 1
  byte 10  field 1 = "two"
  byte 14  field 2 = h'03'
every part is whole:
  ok  header [0, 8)
  ok  body [8, 16)
  ok  trailer [18, 26) ${hex(bytes.subarray(-8))}
`,
  );
  bytes[11]! ^= 1;
  expect(explainImage(bytes)).toContain("BAD body [8, 16) body at byte 11 holds 75, need 74");
});

function failure(act: () => unknown, maybe = false): ImageError {
  try {
    act();
  } catch (error) {
    return error as ImageError;
  }
  if (maybe) return undefined as unknown as ImageError;
  throw new Error("it was accepted");
}

function join(pieces: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
