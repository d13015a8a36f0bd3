import { decode as cborgDecode } from "cborg";
import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { CborError, type CborValue, decodeCbor, encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { explainImage, shown } from "../../../checkpoint/image/explain.ts";
import { readFrame, trailerHash } from "../../../checkpoint/image/frame.ts";
import { hash64, putHash } from "../../../checkpoint/image/hash.ts";
import { ImageError } from "../../../checkpoint/image/image_error.ts";
import { readImage } from "../../../checkpoint/image/read.ts";
import { verifyImage, verifyPieces } from "../../../checkpoint/image/verify.ts";
import { writeImage } from "../../../checkpoint/image/write.ts";
import { samples } from "../../checkpoint/image/samples.ts";
import { randomValue } from "../../checkpoint/image/values.ts";
import { equalBytes, equalValues } from "../equal.ts";
import { hex } from "../packets.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

function cbor(input: Uint8Array<ArrayBuffer>): void {
  const { value, error } = orRefuses(CborError, () => decodeCbor(input));
  if (error !== undefined) {
    assert(error.offset >= 0 && error.offset <= input.length, "The mistake lies in the data");
    return;
  }
  equalBytes(encodeCbor(value as CborValue), input, "encoded again");
  // cborg swallows a byte order mark in front of a text.
  if (!hasMark(input)) {
    equalValues(cborgDecode(input, { useMaps: true, strict: true }), value, "as cborg reads it");
  }
  shown(value as CborValue);
}

function hasMark(input: Uint8Array): boolean {
  return input.some((byte, at) => byte === 0xef && input[at + 1] === 0xbb && input[at + 2] === 0xbf);
}

/** Makes every hash of an image right that can be found. */
export function mendImage(input: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  try {
    const frame = readFrame(input);
    for (const { start, end, hashStart } of frame.chunks) {
      putHash(input, hashStart, hash64(input.subarray(start, end)));
    }
    putHash(input, frame.trailerStart, trailerHash(input, frame));
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
  }
  return input;
}

async function image(input: Uint8Array<ArrayBuffer>): Promise<void> {
  const { value: read, error } = orRefuses(ImageError, () => readImage(input));
  const report = verifyImage(input);
  assert(
    report.ok === (error === undefined),
    `verifyImage() says ${report.ok}, readImage() ${error?.message ?? "reads it"}`,
  );
  assert(report.parts.length > 0, "Something is said of some part");
  for (const { start, end } of report.parts) {
    assert(start >= 0 && start <= end && end <= input.length, "Parts lie in the image");
  }
  const text = explainImage(input);
  assert(!/NaN|\[object/.test(text), text);
  if (error !== undefined) {
    assert(error.offset >= 0 && error.offset <= input.length, "The mistake lies in the image");
  }
  const cut = input.length === 0 ? 0 : input.at(-1)! % (input.length + 1);
  let whole = true;
  try {
    assert(
      await verifyPieces([input.subarray(0, cut), input.subarray(cut)]) === input.length,
      "All of it is read",
    );
  } catch (refusal) {
    if (!(refusal instanceof ImageError)) throw refusal;
    whole = false;
  }
  if (read === undefined) return;
  assert(whole, "What readImage() reads, verifyPieces() takes");
  equalBytes(writeImage(read), input, "written again");
}

export const targets: readonly Target[] = [
  {
    name: "image/cbor",
    about: "CBOR: refused at a byte, or the same bytes when encoded, and what cborg reads",
    run: cbor,
    seeds: () => [
      ...Array.from({ length: 30 }, (_, seed) => encodeCbor(randomValue(new Prng(seed)))).filter((
        { length },
      ) => length <= 512),
      hex("fb3ff199999999999a"),
      hex("a2 01 02 6161 83 f6 f4 20"),
      hex("63efbbbf"),
    ],
    allocationMax: (length) => (1 << 17) + 256 * length,
  },
  {
    name: "image/read",
    about:
      "images, hashes mended: read, verified whole and in pieces, and explained with one voice; written as read",
    run: image,
    bytesMax: 300,
    seeds: () =>
      Object.values(samples()).map((content) => writeImage(content)).filter(({ length }) => length <= 300),
    mend: mendImage,
    allocationMax: (length) => (1 << 20) + 512 * length,
  },
];
