/**
 * Above 64 bytes V8 takes each array's memory from outside its heap, and gives it back one by one; arrays of some hundred
 * bytes, thousands in a turn, are therefore cut from blocks.
 * @module
 */
const BLOCK_BYTES = 16 * 1024;
/** Longer ones get memory of their own: what is kept of a block keeps all of it. */
const SMALL_BYTES_MAX = 1024;

let block = new Uint8Array(0);
let used = 0;

/** `length` zero bytes, perhaps beside others' in one buffer: nobody gets the same ones again. */
export function smallBytes(length: number): Uint8Array<ArrayBuffer> {
  if (length > SMALL_BYTES_MAX) return new Uint8Array(length);
  if (used + length > block.length) {
    block = new Uint8Array(BLOCK_BYTES);
    used = 0;
  }
  return block.subarray(used, used += length);
}
