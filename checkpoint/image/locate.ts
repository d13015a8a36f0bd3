import { type Frame, readFrame, trailerHash } from "./frame.ts";
import { getHash, HASH_BYTES, hashText } from "./hash.ts";
import { ImageError, type Part } from "./image_error.ts";

/** How many bytes may be hashed to find one flipped bit; about 10 ms of work, on the way to an error. */
const SEARCH_BYTES_MAX = 16 * 1024 * 1024;

/**
 * `error`, or a better one. A trailer says that some bit is wrong, not which; but when flipping one
 * bit back makes the whole image consistent again, that bit is the damage (another would have to
 * collide in 64 bits). Tried for the header, then the chunks' frame, then the body, while it is cheap.
 */
export function located(bytes: Uint8Array, error: ImageError): ImageError {
  const copy = bytes.slice();
  const shape = frameOf(copy);
  if (shape) {
    const found = trailerHash(copy, shape);
    if (bitCount(found ^ getHash(copy, shape.trailerStart)) === 1) {
      return new ImageError(
        "trailer",
        shape.trailerStart,
        `Cannot open image: trailer at byte ${shape.trailerStart} is ${
          hashText(getHash(copy, shape.trailerStart))
        }, need ${hashText(found)}`,
        { cause: error },
      );
    }
  }
  let budget = SEARCH_BYTES_MAX;
  for (const at of candidates(bytes, shape)) {
    for (let bit = 0; bit < 8; bit++) {
      copy[at]! ^= 1 << bit;
      const frame = frameOf(copy);
      const whole = frame !== undefined && trailerHash(copy, frame) === getHash(copy, frame.trailerStart);
      budget -= frame ? 64 + (frame.trailerStart - bulkBytes(frame)) : 64;
      if (whole) {
        const part = partAt(frame, at);
        return new ImageError(
          part,
          at,
          `Cannot open image: ${part} at byte ${at} holds ${hex(bytes[at]!)}, need ${hex(copy[at]!)}`,
          { cause: error },
        );
      }
      copy[at]! ^= 1 << bit;
      if (budget <= 0) return settled(error, shape);
    }
  }
  return settled(error, shape);
}

/** Nothing was found: with a sound frame around it, the damage is most likely in the largest part. */
function settled(error: ImageError, shape: Frame | undefined): ImageError {
  if (error.part !== "image" || !shape) return error;
  return new ImageError("body", shape.bodyStart, error.message.replace("it hashes", "header and body hash"), {
    cause: error,
  });
}

/** Bytes to try: the header first, as it is short and steers everything; then frame bytes; then the body. */
function* candidates(bytes: Uint8Array, shape: Frame | undefined): Iterable<number> {
  const headerEnd = Math.min(bytes.length, shape?.bodyStart ?? 16);
  for (let at = 0; at < headerEnd; at++) yield at;
  if (!shape) {
    for (let at = bytes.length - HASH_BYTES - 2; at < bytes.length; at++) if (at >= headerEnd) yield at;
    for (let at = headerEnd; at < bytes.length - HASH_BYTES - 2; at++) yield at;
    return;
  }
  let from = shape.bodyEnd;
  for (const chunk of shape.chunks) {
    for (let at = from; at < chunk.start; at++) yield at;
    from = chunk.end;
  }
  for (let at = from; at < shape.trailerStart; at++) yield at;
  for (let at = shape.bodyStart; at < shape.bodyEnd; at++) yield at;
}

/** The part of the image that byte `at` belongs to. */
export function partAt(frame: Frame, at: number): Part {
  if (at < frame.bodyStart) return "header";
  if (at < frame.bodyEnd) return "body";
  const index = frame.chunks.findIndex((chunk) => at < chunk.hashStart + HASH_BYTES);
  if (index === 0 && at < frame.chunks[0]!.start - 1 && at === frame.chunksStart) return "chunks";
  if (index >= 0) return `chunk ${index}`;
  return at < frame.trailerStart - 1 ? "chunks" : "trailer";
}

function bulkBytes(frame: Frame): number {
  return frame.chunks.reduce((sum, chunk) => sum + chunk.end - chunk.start, 0);
}

function frameOf(bytes: Uint8Array): Frame | undefined {
  try {
    return readFrame(bytes);
  } catch {
    return undefined;
  }
}

function bitCount(value: bigint): number {
  let count = 0;
  for (let rest = value; rest > 0n; rest &= rest - 1n) count++;
  return count;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
