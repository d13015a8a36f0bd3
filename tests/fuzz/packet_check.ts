import { assert } from "../../base/assert.ts";
import { obviousChecksum, pseudoHeader } from "../net/tcp/checker.ts";

function word16(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 256 + bytes[at + 1]!;
}

/**
 * Asserts that an IP packet that was sent is legal, read byte by byte without net/wire: lengths, checksums of
 * what it carries, sources that are hosts.
 * @returns What it carries; -1 for a fragment, whose payload cannot be judged.
 */
export function checkPacket(packet: Uint8Array, mtu: number): number {
  const version = packet[0]! >> 4;
  assert(packet.length <= mtu, `A packet of ${packet.length} bytes on a link of ${mtu}`);
  assert(version === 4 || version === 6, "An IP packet");
  return version === 4 ? check4(packet) : check6(packet);
}

function check4(packet: Uint8Array): number {
  const headerLength = 4 * (packet[0]! & 15);
  assert(headerLength >= 20 && headerLength <= packet.length, "The header fits");
  assert(word16(packet, 2) === packet.length, "The total length is the packet's");
  assert(obviousChecksum(packet.subarray(0, headerLength)) === 0, "The header checksum is right");
  assert(packet[8]! > 0, "It may live");
  assert(packet[12]! < 224, "A host sends it");
  const fragment = word16(packet, 6);
  if ((fragment & 0x3fff) !== 0) return -1;
  checkPayload(packet, packet[9]!, packet.subarray(headerLength));
  return packet[9]!;
}

function check6(packet: Uint8Array): number {
  assert(word16(packet, 4) === packet.length - 40, "The payload length is the packet's");
  assert(packet[8] !== 0xff, "A host sends it");
  let protocol = packet[6]!;
  let at = 40;
  while (protocol === 0 || protocol === 60 || protocol === 43) {
    protocol = packet[at]!;
    at += 8 + 8 * packet[at + 1]!;
    assert(at <= packet.length, "An extension header ends in the packet");
  }
  if (protocol === 44) return -1;
  checkPayload(packet, protocol, packet.subarray(at));
  return protocol;
}

function checkPayload(packet: Uint8Array, protocol: number, payload: Uint8Array): void {
  const pseudo = pseudoHeader(packet, protocol, payload.length);
  switch (protocol) {
    case 1:
    case 2:
      assert(
        payload.length >= 8 && obviousChecksum(payload) === 0,
        "An ICMP or IGMP message with its checksum",
      );
      return;
    case 6:
    case 58:
      assert(
        payload.length >= 8 && obviousChecksum(pseudo, payload) === 0,
        "A segment or message with its checksum",
      );
      return;
    case 17:
      assert(payload.length >= 8 && word16(payload, 4) === payload.length, "A datagram with its length");
      assert(obviousChecksum(pseudo, payload) === 0, "And its checksum");
      return;
    default:
      assert(false, `Nobody here sends protocol ${protocol}`);
  }
}
