import { expect, test } from "vitest";
import { Slab } from "../../base/slab.ts";

test("Slab.of() gives zero bytes, seen alike through both views", () => {
  const slab = Slab.of(64);
  expect(slab.bytes).toEqual(new Uint8Array(64));
  slab.view.setUint16(62, 0x0800);
  expect([...slab.bytes.subarray(62)]).toEqual([8, 0]);
  slab.bytes[0] = 0x7f;
  expect(slab.view.getUint8(0)).toBe(0x7f);
  expect(Slab.of(0).view.byteLength).toBe(0);
});

test("A slab wraps a part of a buffer without copying and sees nothing outside of it", () => {
  const whole = Uint8Array.from({ length: 16 }, (_, at) => at);
  const slab = new Slab(whole.subarray(4, 12));
  expect(slab.view.getUint32(0)).toBe(0x04050607);
  expect(slab.view.byteLength).toBe(8);
  slab.view.setUint8(7, 99);
  expect(whole[11]).toBe(99);
  expect(() => slab.view.getUint8(8)).toThrow(RangeError);
});
