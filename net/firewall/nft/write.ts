import { Nfproto, type NftPacket } from "./packet.ts";
import { updateChecksum } from "../nat/rewrite.ts";
import { TCP_HEADER_BYTES, tcpHeaderLength, tcpOptionLength } from "./headers.ts";

const IPV4_CHECKSUM_AT = 10;
const TCP_CHECKSUM_AT = 16;
const TCP_OPTION_MAXSEG = 2;

/**
 * Writes a field of the IP header, in whole words of 16 bits as nft does; IPv4's checksum follows (RFC 1624). As the
 * kernel's nft_payload_set_eval(), a checksum of zero is written as its other form.
 *
 * @param bit Of the header's first bit, up to 32 `bits` from there.
 */
export function writeIpField(packet: NftPacket, bit: number, bits: number, value: number): void {
  const { slab: { view }, start, nfproto } = packet;
  packet.written = true;
  const end = bit + bits;
  for (let word = bit >> 4; word << 4 < end; word++) {
    const first = Math.max(bit, word << 4);
    const last = Math.min(end, (word + 1) << 4);
    const shift = ((word + 1) << 4) - last;
    const mask = ((1 << (last - first)) - 1) << shift;
    const at = start + 2 * word;
    const before = view.getUint16(at);
    const after = (before & ~mask) | (((value >>> (end - last)) << shift) & mask);
    view.setUint16(at, after);
    if (nfproto !== Nfproto.Ipv4) continue;
    const checksum = view.getUint16(start + IPV4_CHECKSUM_AT);
    view.setUint16(start + IPV4_CHECKSUM_AT, updateChecksum(checksum, before, after) || 0xffff);
  }
}

/**
 * Writes 16 bits of a TCP option, where the segment has it: as the kernel's nft_exthdr_tcp_set_eval(), which makes a
 * maximum segment size only smaller.
 *
 * @param offset Of the option's first byte.
 * @returns False where there is no TCP header, or the option is too short: the rule ends.
 */
export function writeTcpOption(packet: NftPacket, kind: number, offset: number, value: number): boolean {
  const length = tcpHeaderLength(packet);
  if (length < 0) return false;
  const { slab: { bytes, view }, transport } = packet;
  for (let option = TCP_HEADER_BYTES; option < length - 1;) {
    const at = transport + option;
    const long = tcpOptionLength(bytes, at);
    if (bytes[at] !== kind) {
      option += long;
      continue;
    }
    if (option + long > length || offset + 2 > long) return false;
    const before = view.getUint16(at + offset);
    if (before === value || (kind === TCP_OPTION_MAXSEG && before <= value)) return true;
    view.setUint16(at + offset, value);
    packet.written = true;
    const checksumAt = transport + TCP_CHECKSUM_AT;
    if (!packet.checksumLeft) {
      // Where an option begins at an odd byte the two bytes count as if it did not: inet_proto_csum_replace2().
      view.setUint16(checksumAt, updateChecksum(view.getUint16(checksumAt), before, value));
    }
    return true;
  }
  return true;
}
