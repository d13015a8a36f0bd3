import { Slab } from "../base/slab.ts";
import { foldSum } from "../net/wire/checksum.ts";
import { Ipv4Record, PROTOCOL_TCP, writeIpv4 } from "../net/wire/ipv4.ts";
import { IPV6_HEADER_LENGTH, writeIpv6 } from "../net/wire/ipv6.ts";
import type { Ipv6Words } from "../net/wire/ipv6_address.ts";
import { finishTcpChecksum, TcpRecord, writeTcp } from "../net/wire/tcp.ts";

const IP_BYTES = 20;

/** Writes the packets of peers that do not exist, one at a time into one slab; allocates nothing. */
export class FrameWriter {
  readonly slab: Slab = Slab.forPackets(2048);
  /** The next packet's TCP header; addresses and ports stay as they are set. */
  readonly segment: TcpRecord = new TcpRecord();
  readonly ip: Ipv4Record = new Ipv4Record();

  constructor() {
    this.ip.protocol = PROTOCOL_TCP;
    this.ip.timeToLive = 64;
    this.ip.dontFragment = true;
    this.segment.urgentPointer = 0;
  }

  /**
   * Writes the packet with `dataBytes` bytes of whatever the slab holds.
   * @returns Where it ends; it starts at 0.
   */
  write(dataBytes: number): number {
    const { slab, segment, ip } = this;
    const end = writeTcp(segment, slab, IP_BYTES) + dataBytes;
    finishTcpChecksum(slab, IP_BYTES, end, ip.source, ip.destination);
    writeIpv4(ip, slab, 0, end - IP_BYTES);
    return end;
  }

  /** The same over IPv6, whose addresses no record holds. */
  write6(dataBytes: number, source: Ipv6Words, destination: Ipv6Words): number {
    const { slab, segment } = this;
    const start = IPV6_HEADER_LENGTH;
    const end = writeTcp(segment, slab, start) + dataBytes;
    finishTcpChecksum(slab, start, end, sumOf(source), sumOf(destination));
    writeIpv6(slab, 0, end - start, PROTOCOL_TCP, 0, 0, 64);
    for (let word = 0; word < 4; word++) {
      slab.view.setInt32(8 + 4 * word, source[word]!);
      slab.view.setInt32(24 + 4 * word, destination[word]!);
    }
    return end;
  }
}

function sumOf(words: Ipv6Words): number {
  return foldSum(words.reduce((sum, word) => sum + (word >>> 0), 0));
}
