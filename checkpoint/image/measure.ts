import { CborError, type Head, LEAST, readHead } from "./cbor_head.ts";
import { BODY_BYTES_MAX, CHUNK_BYTES_MAX, CHUNKS_MAX, FORMAT_VERSION, MAGIC } from "./frame.ts";
import { HASH_BYTES } from "./hash.ts";
import { ImageError, type Part } from "./image_error.ts";

const head: Head = { major: 0, argument: 0, next: 0 };
/** The data ends within what has to be read. */
const SHORT = -1;

/**
 * How long the image is that `bytes` begin with, by its heads alone: for images that follow one another in a file.
 * @returns `undefined` when `bytes` end before it does.
 * @throws {ImageError} When no image begins there.
 */
export function measureImage(bytes: Uint8Array): number | undefined {
  for (const [at, byte] of [...MAGIC, FORMAT_VERSION].entries()) {
    if (at >= bytes.length) return undefined;
    if (bytes[at] !== byte) refuse("header", at, "no image begins here");
  }
  let at = skip(bytes, MAGIC.length + 1, 0, "header", Infinity); // kind
  at = skip(bytes, at, 0, "header", Infinity); // version
  at = skip(bytes, at, 2, "body", BODY_BYTES_MAX);
  at = skip(bytes, at, 4, "chunks", CHUNKS_MAX);
  if (at === SHORT) return undefined;
  for (let count = head.argument, index = 0; index < count; index++) {
    const part: Part = `chunk ${index}`;
    at = skip(bytes, at, 4, part, 2);
    at = skip(bytes, at, 2, part, CHUNK_BYTES_MAX);
    at = skip(bytes, at, 2, part, HASH_BYTES);
    if (at === SHORT) return undefined;
  }
  at = skip(bytes, at, 2, "trailer", HASH_BYTES);
  return at === SHORT ? undefined : at;
}

/** The byte after the item at `at`: behind a head, and behind the bytes of a byte string. */
function skip(bytes: Uint8Array, at: number, major: number, part: Part, argumentMax: number): number {
  if (at === SHORT || at >= bytes.length) return SHORT;
  const info = bytes[at]! & 31;
  if (info >= 24 && info < 24 + LEAST.length && at + 1 + (1 << (info - 24)) > bytes.length) return SHORT;
  try {
    readHead(bytes, at, head);
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    refuse(part, at, "it is damaged");
  }
  if (head.major !== major || head.argument > argumentMax) refuse(part, at, "it is damaged");
  const end = major === 2 ? head.next + head.argument : head.next;
  return end > bytes.length ? SHORT : end;
}

function refuse(part: Part, at: number, why: string): never {
  throw new ImageError(part, at, `Cannot open image: ${part} at byte ${at}: ${why}`);
}
