/** A parser with a bug that no chance finds: behind a magic number, a length and a name. */
export function readMagic(bytes: Uint8Array): number {
  if (bytes.length < 12) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== 0x70_0b_1e_55) return 1;
  if (view.getUint16(4, true) !== bytes.length) return 2;
  const name = String.fromCharCode(...bytes.subarray(6, 11));
  if (name !== "sleep") return 3;
  if (bytes[11]! > 200) throw new RangeError("The planted bug");
  return 4;
}

/** Turns without end, when told to. */
export function readForEver(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += bytes[at] === 0xee ? 0 : 1) sum += bytes[at]!;
  return sum;
}

/** Believes a length before it has seen the bytes. */
export function readBomb(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 4) return new Uint8Array(0);
  return new Uint8Array(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) >>> 4);
}
