import { PROTOCOL_TCP } from "../../wire/ipv4.ts";
import { Nfproto, type NftPacket } from "./packet.ts";

export const TCP_HEADER_BYTES = 20;
const OPTION_NOP = 1;

/** Bytes of a TCP header with its options, -1 where the packet does not have it whole. */
export function tcpHeaderLength({ protocol, transport: at, end, slab }: NftPacket): number {
  if (protocol !== PROTOCOL_TCP || at < 0 || at + TCP_HEADER_BYTES > end) return -1;
  const length = (slab.bytes[at + 12]! >> 4) * 4;
  return length < TCP_HEADER_BYTES || at + length > end ? -1 : length;
}

/** Bytes of the TCP option that stands there: one where it says none. */
export function tcpOptionLength(bytes: Uint8Array, at: number): number {
  const said = bytes[at + 1]!;
  return bytes[at]! <= OPTION_NOP || said === 0 ? 1 : said;
}

/**
 * Where a TCP option of a kind stands that has at least so many bytes, -1 for none: as the kernel's
 * nft_exthdr_tcp_eval(), which does not stop at the end of the list.
 */
export function findTcpOption(packet: NftPacket, kind: number, bytesMin: number): number {
  const { transport: at } = packet;
  const { bytes } = packet.slab;
  const length = tcpHeaderLength(packet);
  for (let option = TCP_HEADER_BYTES; option < length - 1;) {
    const long = tcpOptionLength(bytes, at + option);
    if (bytes[at + option] === kind) return option + long > length || bytesMin > long ? -1 : at + option;
    option += long;
  }
  return -1;
}

/** Where the extension header of a kind stands, -1 for none: the kernel's ipv6_find_hdr() with a target. */
export function findExtension(packet: NftPacket, kind: number): number {
  const { start, end } = packet;
  const { bytes } = packet.slab;
  if (packet.nfproto !== Nfproto.Ipv6) return -1;
  let next = bytes[start + 6]!;
  let at = start + 40;
  while (next !== kind) {
    if (at + 2 > end || !(next === 0 || next === 43 || next === 44 || next === 51 || next === 60)) return -1;
    if (next === 44 && (at + 4 > end || ((bytes[at + 2]! << 8) | (bytes[at + 3]! & 0xf8)) !== 0)) return -1;
    const said = bytes[at + 1]!;
    const long = next === 44 ? 8 : next === 51 ? (said + 2) << 2 : (said + 1) << 3;
    next = bytes[at]!;
    at += long;
  }
  return at > end ? -1 : at;
}
