import { Slab } from "../../base/slab.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { checksumOf } from "../../net/wire/checksum.ts";

/** A datagram of 12 bytes without a checksum, from 10.9.0.1, as it lies in an IPv4 packet. */
export function datagramTo(destination: string, port: number): Uint8Array<ArrayBuffer> {
  const slab = Slab.of(40);
  const { bytes, view } = slab;
  bytes[0] = 0x45;
  view.setUint16(2, bytes.length);
  bytes[8] = 64;
  bytes[9] = 17;
  view.setInt32(12, parseIpv4("10.9.0.1")!);
  view.setInt32(16, parseIpv4(destination)!);
  view.setUint16(10, checksumOf(slab, 0, 20));
  view.setUint16(20, 4_000);
  view.setUint16(22, port);
  view.setUint16(24, 20);
  return bytes;
}
