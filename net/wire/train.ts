import { copyBytes, Slab } from "../../base/slab.ts";
import { checksumOf, foldSum, sumWords } from "./checksum.ts";
import { IPV4_HEADER_LENGTH, PROTOCOL_TCP, PROTOCOL_UDP } from "./ipv4.ts";
import { IPV6_HEADER_LENGTH } from "./ipv6.ts";
import { finishTcpChecksum, TCP_HEADER_LENGTH, TcpFlag } from "./tcp.ts";
import { finishUdpChecksum, UDP_HEADER_LENGTH } from "./udp.ts";

/** `segmentBytes` of a single packet whose checksum is not filled in: no data is longer. */
export const WHOLE_SEGMENT = 0xffff;

/** The longest packet of IPv6, its header included. */
const PACKET_BYTES_MAX = IPV6_HEADER_LENGTH + 0xffff;

const IPV4 = { length: 2, identification: 4, protocol: 9, checksum: 10, addresses: 12 } as const;
const IPV6 = { length: 4, protocol: 6, addresses: 8 } as const;
const TCP = { sequence: 4, offset: 12, flags: 13 } as const;
const UDP_LENGTH = 4;
/** Flags that belong to the last segment of a train, and to its first (RFC 3168 section 6.1.2). */
const OF_THE_LAST = TcpFlag.FIN | TcpFlag.PSH;

const scratch = Slab.forPackets(PACKET_BYTES_MAX);

/**
 * Makes frames of a bare IP packet that came or should go with `segmentBytes` above 0: checksums are filled in, and a
 * train is cut as a network card would. What is neither TCP nor UDP, or ends within its headers, is handed on as it is.
 *
 * `emit` gets each frame in a slab that is used again for the next one, and with it `segmentBytes` 0.
 */
export function cutTrain(
  slab: Slab,
  start: number,
  end: number,
  segmentBytes: number,
  emit: (slab: Slab, start: number, end: number) => void,
): void {
  const { view } = slab;
  const ipv6 = view.getUint8(start) >>> 4 === 6;
  const ipBytes = ipv6 ? IPV6_HEADER_LENGTH : (view.getUint8(start) & 15) << 2;
  if (end - start < IPV4_HEADER_LENGTH) return emit(slab, start, end);
  const protocol = view.getUint8(start + (ipv6 ? IPV6.protocol : IPV4.protocol));
  const transport = start + ipBytes;
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return emit(slab, start, end);
  const tcp = protocol === PROTOCOL_TCP;
  if (end - transport < (tcp ? TCP_HEADER_LENGTH : UDP_HEADER_LENGTH)) return emit(slab, start, end);
  const headers = ipBytes + (tcp ? view.getUint8(transport + TCP.offset) >>> 4 << 2 : UDP_HEADER_LENGTH);
  const data = end - start - headers;
  if (data < 0) return emit(slab, start, end);
  if (data <= segmentBytes) {
    const sum = addressSum(slab, start, ipv6);
    if (tcp) finishTcpChecksum(slab, transport, end, sum, 0);
    else finishUdpChecksum(slab, transport, end, sum, 0);
    return emit(slab, start, end);
  }
  const sequence = tcp ? view.getInt32(transport + TCP.sequence) : 0;
  const flags = tcp ? view.getUint8(transport + TCP.flags) : 0;
  const to = scratch.view;
  for (let at = 0, piece = 0; at < data; at += segmentBytes, piece++) {
    const length = Math.min(segmentBytes, data - at);
    const last = at + length === data;
    const total = headers + length;
    copyBytes(slab, start, scratch, 0, headers);
    copyBytes(slab, start + headers + at, scratch, headers, length);
    if (ipv6) {
      to.setUint16(IPV6.length, total - IPV6_HEADER_LENGTH);
    } else {
      to.setUint16(IPV4.length, total);
      const identification = view.getUint16(start + IPV4.identification);
      to.setUint16(IPV4.identification, identification + piece);
      to.setUint16(IPV4.checksum, 0);
      to.setUint16(IPV4.checksum, checksumOf(scratch, 0, ipBytes));
    }
    if (tcp) {
      to.setInt32(ipBytes + TCP.sequence, sequence + at);
      const kept = (last ? flags : flags & ~OF_THE_LAST) & (piece === 0 ? 0xff : ~TcpFlag.CWR);
      to.setUint8(ipBytes + TCP.flags, kept);
      finishTcpChecksum(scratch, ipBytes, total, addressSum(scratch, 0, ipv6), 0);
    } else {
      to.setUint16(ipBytes + UDP_LENGTH, UDP_HEADER_LENGTH + length);
      finishUdpChecksum(scratch, ipBytes, total, addressSum(scratch, 0, ipv6), 0);
    }
    emit(scratch, 0, total);
  }
}

/** The folded sum of both addresses of the packet at `start`. */
function addressSum(slab: Slab, start: number, ipv6: boolean): number {
  const from = start + (ipv6 ? IPV6.addresses : IPV4.addresses);
  const to = start + (ipv6 ? IPV6_HEADER_LENGTH : IPV4_HEADER_LENGTH);
  return foldSum(sumWords(slab, from, to, 0));
}
