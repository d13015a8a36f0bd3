/**
 * A buffer with its byte view and its DataView, both made once.
 *
 * Making a view costs five to ten times a header read, so packets travel as `(slab, start, end)`:
 * whoever owns a buffer makes one slab for it and every layer reads through that.
 *
 * @example
 * ```ts
 * import { Slab } from "@torpor/torpor/base/slab.ts";
 * const slab = Slab.of(2048);
 * slab.view.setUint16(0, 0x0800);
 * console.log(slab.bytes[0]); // 8
 * ```
 */
export class Slab {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;

  /** Wraps `bytes` without copying. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** A new slab of `length` zero bytes. */
  static of(length: number): Slab {
    return new Slab(new Uint8Array(length));
  }
}
