import type { Slab } from "../../base/slab.ts";
import type { Tail } from "../../base/tail.ts";
import { foldSum, pseudoSum, sumTail, sumWords } from "./checksum.ts";
import { Drop } from "./drop.ts";
import { PROTOCOL_TCP } from "./ipv4.ts";
import { NOP_NOP_TIMESTAMP_10, readTcpOptions, tcpOptionsLength, writeTcpOptions } from "./tcp_options.ts";

/** Bits of {@linkcode TcpRecord.flags} (RFC 9293 section 3.1). */
export const TcpFlag = {
  FIN: 1,
  SYN: 2,
  RST: 4,
  PSH: 8,
  ACK: 16,
  URG: 32,
  ECE: 64,
  CWR: 128,
  /** RFC 9768; the lowest of the four bits behind the data offset. */
  AE: 256,
} as const;
export type TcpFlag = (typeof TcpFlag)[keyof typeof TcpFlag];

/** Bytes in a header without options, and with as many as there may be. */
export const TCP_HEADER_LENGTH = 20;
export const TCP_HEADER_BYTES_MAX = 60;

const AT = {
  sourcePort: 0,
  destinationPort: 2,
  sequence: 4,
  acknowledgment: 8,
  offset: 12,
  flags: 13,
  window: 14,
  checksum: 16,
  urgentPointer: 18,
} as const;

/**
 * A segment's header and options as the layers above see them. Sequence numbers and timestamps are
 * signed 32-bit integers.
 */
export class TcpRecord {
  sourcePort = 0;
  destinationPort = 0;
  sequence = 0;
  acknowledgment = 0;
  /** `TcpFlag` bits. */
  flags = 0;
  /** As in the header: not yet scaled. */
  window = 0;
  urgentPointer = 0;
  /** The ECN bits of the IP header that it came in; the IP layer fills them in. */
  ecn = 0;
  /** Above 0: several segments in one, of so much data each, as a device put them together (TSO, GRO). */
  segmentBytes = 0;
  /** Offsets of the data into the slab. */
  dataStart = 0;
  dataEnd = 0;
  /** Maximum segment size; 0 when absent. Only on SYN. */
  mss = 0;
  /** Shift count, 0 to 14; -1 when absent. Only on SYN. */
  windowScale = -1;
  /** Only on SYN. */
  sackPermitted = false;
  hasTimestamp = false;
  tsVal = 0;
  tsEcr = 0;
  /** Blocks in `sackEdges`, 0 to 4. */
  sackCount = 0;
  /** Left edge, right edge, left edge, ... */
  readonly sackEdges: Int32Array<ArrayBuffer> = new Int32Array(8);
  /** Bytes of the Fast Open cookie: 0 asks for one, 4 to 16; -1 when absent. Only on SYN. */
  fastOpenLength = -1;
  /** It came, or goes, as the experimental option that RFC 7413 had before it had a number. */
  fastOpenExperimental = false;
  readonly fastOpenCookie: Uint8Array<ArrayBuffer> = new Uint8Array(16);
  /** The user timeout (RFC 5482) as the option has it: 15 bits, and above them 1 for minutes, 0 for seconds; -1 when absent. */
  userTimeout = -1;
  /** Counters in an Accurate ECN option (RFC 9768 section 3.2.3), 0 to 3; -1 when there is no such option. */
  accEcnCount = -1;
  /** Bytes that came as ECT(1), ECT(0), CE, modulo 2^24; read: -1 for a counter that the option lacks. */
  readonly accEcn: Int32Array<ArrayBuffer> = new Int32Array(3);

  /** Forgets every option. Fields of the fixed header keep their values. */
  clear(): void {
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamp = false;
    this.tsVal = 0;
    this.tsEcr = 0;
    this.sackCount = 0;
    this.fastOpenLength = -1;
    this.fastOpenExperimental = false;
    this.userTimeout = -1;
    this.accEcnCount = -1;
  }
}

/**
 * Fills `into` from the segment in `[start, end)`, `end` being where the IP datagram ends.
 *
 * Judges data offset and ports. Malformed options end the reading of options, not of the segment
 * (RFC 9293 MUST-7). The checksum is `tcpChecksumOk`'s business: a device may have verified it.
 *
 * @returns `Drop.None`, or the reason, and then `into` is untouched.
 */
export function readTcp(slab: Slab, start: number, end: number, into: TcpRecord): Drop {
  const view = slab.view;
  if (end - start < TCP_HEADER_LENGTH) return Drop.TcpShort;
  const offset = view.getUint8(start + AT.offset);
  const dataStart = start + (offset >>> 4 << 2);
  if (dataStart < start + TCP_HEADER_LENGTH || dataStart > end) return Drop.TcpOffset;
  const sourcePort = view.getUint16(start + AT.sourcePort);
  const destinationPort = view.getUint16(start + AT.destinationPort);
  if (sourcePort === 0 || destinationPort === 0) return Drop.TcpPort;
  const flags = view.getUint8(start + AT.flags) | ((offset & 1) << 8);
  into.sourcePort = sourcePort;
  into.destinationPort = destinationPort;
  into.sequence = view.getInt32(start + AT.sequence);
  into.acknowledgment = view.getInt32(start + AT.acknowledgment);
  into.flags = flags;
  into.window = view.getUint16(start + AT.window);
  into.urgentPointer = view.getUint16(start + AT.urgentPointer);
  into.dataStart = dataStart;
  into.dataEnd = end;
  into.clear();
  readTcpOptions(slab, start + TCP_HEADER_LENGTH, dataStart, (flags & TcpFlag.SYN) !== 0, into);
  return Drop.None;
}

/** Whether the checksum over pseudo-header, header and data is right. */
export function tcpChecksumOk(
  slab: Slab,
  start: number,
  end: number,
  source: number,
  destination: number,
): boolean {
  return foldSum(sumWords(slab, start, end, pseudoSum(source, destination, PROTOCOL_TCP, end - start))) ===
    0xffff;
}

/** Bytes that `writeTcp` writes for `record`: the fixed header and its padded options. */
export function tcpHeaderLength(record: TcpRecord): number {
  return TCP_HEADER_LENGTH + tcpOptionsLength(record, (record.flags & TcpFlag.SYN) !== 0);
}

/**
 * Writes header and options at `at`, the checksum left zero for `finishTcpChecksum` or a device.
 *
 * Options come in Linux's order; MSS, window scale, SACK-permitted and Fast Open only on SYN. As many SACK
 * blocks are written as fit: three beside a timestamp, four without.
 *
 * @returns Where the data starts.
 */
export function writeTcp(record: TcpRecord, slab: Slab, at: number): number {
  const view = slab.view;
  const syn = (record.flags & TcpFlag.SYN) !== 0;
  const dataStart = writeTcpOptions(record, slab, at + TCP_HEADER_LENGTH, syn);
  // In whole words, as the checksum will read them: from smaller pieces that would stall.
  view.setInt32(at + AT.sourcePort, (record.sourcePort << 16) | (record.destinationPort & 0xffff));
  view.setInt32(at + AT.sequence, record.sequence);
  view.setInt32(at + AT.acknowledgment, record.acknowledgment);
  const offsetAndFlags = ((dataStart - at) << 10) | (record.flags & 0x1ff);
  view.setInt32(at + AT.offset, (offsetAndFlags << 16) | (record.window & 0xffff));
  view.setInt32(at + AT.checksum, record.urgentPointer & 0xffff);
  return dataStart;
}

/**
 * As `writeTcp`, of a segment that has timestamps and no other option.
 * @param ports The source's above, the destination's below.
 */
export function writeTimestampedTcp(
  slab: Slab,
  at: number,
  ports: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
  window: number,
  tsVal: number,
  tsEcr: number,
): number {
  const { view } = slab;
  view.setInt32(at, ports);
  view.setInt32(at + AT.sequence, sequence);
  view.setInt32(at + AT.acknowledgment, acknowledgment);
  view.setInt32(at + AT.offset, 0x8000_0000 | (flags << 16) | window);
  view.setInt32(at + AT.checksum, 0);
  view.setInt32(at + 20, NOP_NOP_TIMESTAMP_10);
  view.setInt32(at + 24, tsVal);
  view.setInt32(at + 28, tsEcr);
  return at + 32;
}

/** Fills the checksum of the segment in `[start, end)`, header and data. */
export function finishTcpChecksum(
  slab: Slab,
  start: number,
  end: number,
  source: number,
  destination: number,
  tail?: Tail,
): void {
  const pseudo = pseudoSum(source, destination, PROTOCOL_TCP, end - start);
  const sum = tail === undefined
    ? sumWords(slab, start, end, pseudo)
    : sumTail(tail, sumWords(slab, start, end - tail.bytes, pseudo));
  const left = slab.view.getUint16(start + AT.checksum); // zero as a rule
  slab.view.setUint16(start + AT.checksum, ~foldSum(left === 0 ? sum : sum + 0xffff - left) & 0xffff);
}

/** Puts the sum of the pseudo-header in the place of the checksum, for a device that adds the rest. */
export function leaveTcpChecksum(
  slab: Slab,
  start: number,
  end: number,
  source: number,
  destination: number,
): void {
  const sum = pseudoSum(source, destination, PROTOCOL_TCP, end - start);
  slab.view.setUint16(start + AT.checksum, foldSum(sum));
}
