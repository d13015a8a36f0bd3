import { CborError, type Head, readHead } from "./cbor_head.ts";
import { type Frame, MAGIC, readFrame, trailerHash } from "./frame.ts";
import { getHash, HASH_BYTES, hashText } from "./hash.ts";
import { ImageError, type Part } from "./image_error.ts";

/** How many bytes may be hashed to find one flipped bit; about 10 ms of work, on the way to an error. */
const SEARCH_BYTES_MAX = 16 * 1024 * 1024;
/** A frame that cannot be read costs an exception: as much time as hashing this many bytes. */
const FAILURE_BYTES = 32 * 1024;

/**
 * `error`, or a better one. A trailer says that some bit is wrong, not which; but when flipping one
 * bit back makes the whole image consistent again, that bit is the damage (another would have to
 * collide in 64 bits). Tried for the header, then the chunks' frame, then the body, while it is cheap.
 */
export function located(bytes: Uint8Array, error: ImageError): ImageError {
  const limit = Error.stackTraceLimit; // most of the search's time would go into stacks that nobody reads
  Error.stackTraceLimit = 0;
  try {
    return search(bytes, error);
  } finally {
    Error.stackTraceLimit = limit;
  }
}

function search(bytes: Uint8Array, error: ImageError): ImageError {
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
  for (const at of candidates(bytes, shape, error.offset)) {
    const inBody = shape && at >= shape.bodyStart && at < shape.bodyEnd; // no such bit moves the frame
    for (let bit = 0; bit < 8; bit++) {
      copy[at]! ^= 1 << bit;
      const frame = inBody ? shape : frameOf(copy);
      const whole = frame !== undefined && trailerHash(copy, frame) === getHash(copy, frame.trailerStart);
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
      budget -= frame ? 256 + frame.trailerStart - bulkBytes(frame) : FAILURE_BYTES;
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

/**
 * Bytes to try: the header first, as it is short and steers everything; then what frames the parts,
 * beginning where reading stopped; the body last.
 */
function* candidates(bytes: Uint8Array, shape: Frame | undefined, stopped: number): Iterable<number> {
  const headerEnd = Math.min(bytes.length, shape?.bodyStart ?? 16);
  for (let at = 0; at < headerEnd; at++) yield at;
  if (!shape) {
    const trailer = bytes.length - HASH_BYTES - 2;
    yield* framing(bytes).reverse().slice(0, 32);
    for (let at = Math.min(stopped + 2, bytes.length - 1); at > stopped - 12 && at >= headerEnd; at--) {
      yield at;
    }
    for (let at = Math.max(trailer, headerEnd); at < bytes.length; at++) yield at;
    for (let at = headerEnd; at < trailer; at++) yield at;
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

/** The bytes of all heads behind the body, as far as they can be followed: the damaged one is among the last. */
function framing(bytes: Uint8Array): number[] {
  const head: Head = { major: 0, argument: 0, next: 0 };
  const found: number[] = [];
  const follow = (at: number): void => {
    readHead(bytes, at, head);
    if (found.length > 0 || head.major === 4) {
      for (let byte = at; byte < head.next; byte++) {
        found.push(byte);
      }
    }
  };
  try {
    follow(MAGIC.length - 1);
    found.length = 0;
    for (let field = 0; field < 4; field++) follow(head.next); // format, kind, version, the body's length
    follow(head.next + head.argument);
    for (let chunks = head.argument; chunks > 0; chunks--) {
      follow(head.next);
      follow(head.next);
      follow(head.next + head.argument);
      head.next += HASH_BYTES;
    }
    follow(head.next);
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
  }
  return found;
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
