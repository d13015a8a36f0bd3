import { createHash } from "node:crypto";
import { Prng } from "../../base/random.ts";

const PIECE_BYTES = 1 << 20;

/** `length` bytes that no two megabytes of are alike; the piece is reused, so use it before the next. */
export function* pattern(length: number): Generator<Uint8Array<ArrayBuffer>> {
  const piece = new Uint8Array(PIECE_BYTES);
  new Prng(1).fill(piece);
  const view = new DataView(piece.buffer);
  for (let at = 0; at < length; at += PIECE_BYTES) {
    view.setUint32(0, at / PIECE_BYTES);
    yield piece.subarray(0, Math.min(PIECE_BYTES, length - at));
  }
}

/** The SHA-256 of `pattern(length)`, in hexadecimal. */
export function patternHash(length: number): string {
  const hash = createHash("sha256");
  for (const piece of pattern(length)) hash.update(piece);
  return hash.digest("hex");
}
