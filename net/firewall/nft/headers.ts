import { PROTOCOL_TCP } from "../../wire/ipv4.ts";
import { Nfproto, type NftPacket } from "./packet.ts";

const TCP_HEADER_BYTES = 20;
const OPTION_NOP = 1;

/**
 * Where a TCP option of a kind stands that has at least so many bytes, -1 for none: as the kernel's
 * nft_exthdr_tcp_eval(), which does not stop at the end of the list.
 */
export function findTcpOption(packet: NftPacket, kind: number, bytesMin: number): number {
  const { transport: at, end } = packet;
  const { bytes } = packet.slab;
  if (packet.protocol !== PROTOCOL_TCP || at < 0 || at + TCP_HEADER_BYTES > end) return -1;
  const length = (bytes[at + 12]! >> 4) * 4;
  if (length < TCP_HEADER_BYTES || at + length > end) return -1;
  for (let option = TCP_HEADER_BYTES; option < length - 1;) {
    const found = bytes[at + option]!;
    const said = bytes[at + option + 1]!;
    const long = found <= OPTION_NOP || said === 0 ? 1 : said;
    if (found === kind) return option + long > length || bytesMin > long ? -1 : at + option;
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
