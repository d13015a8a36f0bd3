import { captured } from "../net/wire/captured.ts";
import { fromHex } from "../net/wire/frames.ts";

/** Frames that Linux sent, as bytes. */
export const frames: readonly Uint8Array<ArrayBuffer>[] = captured.map(({ hex }) => fromHex(hex));

/** IP packets out of those frames. */
export const packets: readonly Uint8Array<ArrayBuffer>[] = frames
  .filter((frame) => frame[12] === 0x08 && frame[13] === 0 || frame[12] === 0x86)
  .map((frame) => frame.slice(14));

/** What the IPv4 packets with this protocol number carry. */
export function payloads(protocol: number): Uint8Array<ArrayBuffer>[] {
  const found: Uint8Array<ArrayBuffer>[] = [];
  for (const packet of packets) {
    if (packet[0]! >> 4 === 4 && packet[9] === protocol) found.push(packet.slice(4 * (packet[0]! & 15)));
    if (packet[0]! >> 4 === 6 && packet[6] === protocol) found.push(packet.slice(40));
  }
  return found;
}

export function hex(text: string): Uint8Array<ArrayBuffer> {
  return fromHex(text.replaceAll(/\s/g, ""));
}

/** Writes an Internet checksum over `[start, end)` at `at`, where an input is long enough for one. */
export function mendChecksum(bytes: Uint8Array, at: number, start: number, end: number, sum = 0): void {
  if (at + 2 > bytes.length || end > bytes.length) return;
  bytes[at] = bytes[at + 1] = 0;
  for (let byte = start; byte < end; byte++) {
    sum += (byte - start) % 2 === 0 ? bytes[byte]! * 256 : bytes[byte]!;
  }
  while (sum > 0xffff) sum = (sum % 0x1_0000) + Math.floor(sum / 0x1_0000);
  bytes[at] = (~sum >> 8) & 255;
  bytes[at + 1] = ~sum & 255;
}

/** Makes the checksums of an IP packet right as far as it can be read; those of its payload when `inside`. */
export function mendPacket(packet: Uint8Array, inside = true): void {
  const version = packet[0]! >> 4;
  const headerLength = version === 4 ? 4 * (packet[0]! & 15) : 40;
  if (packet.length < headerLength || headerLength < 20) return;
  if (version === 4) mendChecksum(packet, 10, 0, headerLength);
  if (!inside) return;
  const protocol = packet[version === 4 ? 9 : 6]!;
  const at = { 1: 2, 2: 2, 6: 16, 17: 6, 58: 2 }[protocol];
  if (at === undefined) return;
  const length = packet.length - headerLength;
  let sum = 0;
  if (protocol > 2) {
    sum = protocol + length;
    for (let byte = version === 4 ? 12 : 8; byte < headerLength && byte < 40; byte++) {
      sum += byte % 2 === 0 ? packet[byte]! * 256 : packet[byte]!;
    }
    if (version === 4) { // its addresses alone, not the options behind them
      for (let byte = 20; byte < headerLength; byte++) {
        sum -= byte % 2 === 0 ? packet[byte]! * 256 : packet[byte]!;
      }
    }
  }
  if (protocol === 17 && length >= 8) {
    packet[headerLength + 4] = length >> 8;
    packet[headerLength + 5] = length;
  }
  mendChecksum(packet, headerLength + at, headerLength, packet.length, sum);
}
