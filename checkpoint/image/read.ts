import { type CborValue, decodeCbor } from "./cbor.ts";
import { CborError } from "./cbor_head.ts";
import { type Frame, readFrame, trailerHash } from "./frame.ts";
import { getHash, hash64, hashText } from "./hash.ts";
import { ImageError } from "./image_error.ts";
import type { Kind } from "./kinds.ts";
import { located } from "./locate.ts";

/** An image as read. Byte strings in `body` and all of `chunks` are views of the bytes that were read. */
export interface Image {
  /** What it is of. */
  readonly kind: Kind;
  /** The version of the format. */
  readonly version: number;
  /** Its fields. */
  readonly body: CborValue;
  /** Its bytes beside the fields. */
  readonly chunks: readonly Uint8Array[];
}

/** Options of `readImage`. */
export interface ReadOptions {
  /** Leave chunk hashes for later: `verifyChunk` checks them one by one. */
  readonly lazyChunks?: boolean;
}

/**
 * Reads and verifies an image: every byte of it is covered by a check.
 *
 * @throws {ImageError} Naming the damaged part, its byte and, where they differ, both hashes. A single
 * flipped bit outside the chunks is usually named exactly.
 */
export function readImage(bytes: Uint8Array, options: ReadOptions = {}): Image {
  let frame: Frame;
  try {
    frame = readFrame(bytes);
    const need = getHash(bytes, frame.trailerStart);
    const found = trailerHash(bytes, frame);
    if (found !== need) {
      throw new ImageError(
        "image",
        0,
        `Cannot open image: it hashes to ${hashText(found)}, its trailer at byte ${frame.trailerStart} says ${
          hashText(need)
        }`,
      );
    }
  } catch (error) {
    if (error instanceof ImageError) throw located(bytes, error);
    throw error;
  }
  if (!options.lazyChunks) {
    for (let index = 0; index < frame.chunks.length; index++) verifyChunk(bytes, frame, index);
  }
  return {
    kind: frame.kind as Kind,
    version: frame.version,
    body: decodeBody(bytes, frame),
    chunks: frame.chunks.map((chunk) => bytes.subarray(chunk.start, chunk.end)),
  };
}

/**
 * Checks one chunk alone.
 * @throws {ImageError}
 */
export function verifyChunk(bytes: Uint8Array, frame: Frame, index: number): void {
  const { start, end, hashStart } = frame.chunks[index]!;
  const found = hash64(bytes.subarray(start, end));
  const need = getHash(bytes, hashStart);
  if (found === need) return;
  throw new ImageError(
    `chunk ${index}`,
    start,
    `Cannot open image: chunk ${index} at byte ${start} hashes to ${hashText(found)}, need ${hashText(need)}`,
  );
}

/** The body's value; offsets in errors count from the image's start. */
export function decodeBody(bytes: Uint8Array, frame: Frame): CborValue {
  try {
    return decodeCbor(bytes.subarray(frame.bodyStart, frame.bodyEnd));
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    const at = frame.bodyStart + error.offset;
    throw new ImageError("body", at, `Cannot open image: body at byte ${at} is not deterministic CBOR`, {
      cause: error,
    });
  }
}
