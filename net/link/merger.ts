import { copied, Copies } from "../../base/copies.ts";
import { copyBytes, Slab } from "../../base/slab.ts";
import { checksumOf, foldSum, sumWords } from "../wire/checksum.ts";
import { IPV4_HEADER_LENGTH, PROTOCOL_TCP } from "../wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../wire/ipv6.ts";
import { TCP_HEADER_BYTES_MAX, TCP_HEADER_LENGTH, TcpFlag } from "../wire/tcp.ts";
import type { LinkSink } from "./link.ts";

/** The longest packet that a header can tell of. */
const TRAIN_BYTES_MAX = 0xffff;
/** Below that a copy costs more than the walk that it saves. */
const DATA_BYTES_MIN = 512;
const HEADERS_MAX = IPV6_HEADER_LENGTH + TCP_HEADER_BYTES_MAX;

const IPV4 = { length: 2, fragment: 6, protocol: 9, checksum: 10, addresses: 12 } as const;
const IPV6 = { length: 4, protocol: 6, addresses: 8 } as const;
const TCP = { ports: 0, sequence: 4, acknowledgment: 8, flags: 12, urgent: 18 } as const;
/** Header length and flags of a segment that has data, acknowledges, and says nothing else but perhaps PSH. */
const PLAIN_MASK = 0x0fff & ~TcpFlag.PSH;

const NOTHING = Slab.of(0);

/**
 * What network cards and Linux's GRO do, for links that bring packets one by one (bare IP packets, for a sink that
 * `trains`): full segments of one connection that follow one another within a batch are put together, and are one
 * packet to the stack. A packet is copied when it follows one of its kind: what comes alone passes as it is, at once.
 *
 * Segments are merged whose headers differ in nothing but length, identification, sequence number, checksums and PSH,
 * which ends a train; their checksums have been verified. Everything else passes untouched, in the order in which it came.
 */
export class SegmentMerger implements LinkSink {
  readonly trains = true;
  readonly #sink: LinkSink;
  #train: Slab = NOTHING; // from the first train on
  #end = 0; // of the train; 0 while there is none
  #segmentBytes = 0;
  /** The headers of the data packet that came last, and where its data ended; 0 bytes when nothing may follow it. */
  readonly #last = Slab.of(HEADERS_MAX);
  #lastBytes = 0;
  #lastData = 0;
  #next = 0;
  // Of the packet at hand.
  #ipBytes = 0;
  #headers = 0;
  #data = 0;
  #pushes = false;

  /** @param sink Where all goes. */
  constructor(sink: LinkSink) {
    this.#sink = sink;
  }

  /** As {@linkcode LinkSink.full}. */
  get full(): boolean {
    return this.#sink.full ?? false;
  }

  /** As {@linkcode LinkSink.receive}. */
  receive(slab: Slab, start: number, end: number, segmentBytes: number = 0): void {
    const alone = end - start < DATA_BYTES_MIN && this.#end === 0; // nearly all that is no bulk
    if (alone || segmentBytes > 0 || !this.#isPlain(slab, start, end)) {
      this.#release();
      this.#lastBytes = 0;
      return this.#sink.receive(slab, start, end, segmentBytes);
    }
    const sequence = slab.view.getInt32(start + this.#ipBytes + TCP.sequence);
    const follows = sequence === this.#next && this.#headers === this.#lastBytes &&
      this.#data <= this.#lastData &&
      this.#hasSameHeaders(slab, start) && this.#isWhole(slab, start, end);
    if (this.#end > 0 && (!follows || this.#end + this.#data > TRAIN_BYTES_MAX)) this.#release();
    const data = this.#data;
    const goesOn = data >= (this.#end > 0 ? this.#segmentBytes : DATA_BYTES_MIN) && !this.#pushes;
    if (!follows) this.#remember(slab, start);
    this.#next = (sequence + data) | 0;
    this.#lastData = data;
    if (!goesOn) this.#lastBytes = 0;
    if (follows && (goesOn || this.#end > 0)) this.#append(slab, start, end);
    else this.#sink.receive(slab, start, end, 0);
    if (!goesOn) this.#release();
  }

  /** The batch is over, and so is its train. */
  flush(): void {
    this.#release();
    this.#lastBytes = 0;
    this.#sink.flush();
  }

  /** As {@linkcode LinkSink.closed}. */
  closed(error?: Error): void {
    this.#release();
    this.#sink.closed(error);
  }

  #append(slab: Slab, start: number, end: number): void {
    if (this.#train === NOTHING) this.#train = Slab.forPackets(TRAIN_BYTES_MAX);
    const train = this.#train;
    if (this.#end === 0) {
      copyBytes(slab, start, train, 0, end - start);
      copied[Copies.in]! += this.#data;
      this.#end = end - start;
      this.#segmentBytes = this.#data;
    } else {
      copyBytes(slab, start + this.#headers, train, this.#end, this.#data);
      copied[Copies.in]! += this.#data;
      this.#end += this.#data;
    }
    if (this.#pushes) {
      const at = this.#ipBytes + TCP.flags;
      train.view.setUint16(at, train.view.getUint16(at) | TcpFlag.PSH);
    }
  }

  #release(): void {
    const end = this.#end;
    if (end === 0) return;
    this.#end = 0;
    const { view } = this.#train;
    if (view.getUint8(0) >>> 4 === 6) {
      view.setUint16(IPV6.length, end - IPV6_HEADER_LENGTH);
    } else {
      view.setUint16(IPV4.length, end);
      view.setUint16(IPV4.checksum, 0);
      view.setUint16(IPV4.checksum, checksumOf(this.#train, 0, IPV4_HEADER_LENGTH));
    }
    this.#sink.receive(this.#train, 0, end, this.#segmentBytes);
  }

  /** Whether it is a whole TCP segment with data and nothing special; notes where its parts are. */
  #isPlain(slab: Slab, start: number, end: number): boolean {
    const { view } = slab;
    const length = end - start;
    if (length < IPV4_HEADER_LENGTH + TCP_HEADER_LENGTH) return false;
    const first = view.getUint8(start);
    if (first === 0x45) {
      const fragment = view.getUint16(start + IPV4.fragment) & 0xbfff; // all but "don't fragment"
      if (view.getUint8(start + IPV4.protocol) !== PROTOCOL_TCP || fragment !== 0) return false;
      if (view.getUint16(start + IPV4.length) !== length) return false;
      this.#ipBytes = IPV4_HEADER_LENGTH;
    } else if (first >>> 4 === 6 && length >= IPV6_HEADER_LENGTH + TCP_HEADER_LENGTH) {
      if (view.getUint8(start + IPV6.protocol) !== PROTOCOL_TCP) return false;
      if (view.getUint16(start + IPV6.length) !== length - IPV6_HEADER_LENGTH) return false;
      this.#ipBytes = IPV6_HEADER_LENGTH;
    } else {
      return false;
    }
    const flags = view.getUint16(start + this.#ipBytes + TCP.flags);
    const tcpBytes = flags >>> 12 << 2;
    this.#headers = this.#ipBytes + tcpBytes;
    this.#data = length - this.#headers;
    this.#pushes = (flags & TcpFlag.PSH) !== 0;
    return (flags & PLAIN_MASK) === TcpFlag.ACK && tcpBytes >= TCP_HEADER_LENGTH && this.#data > 0 &&
      view.getUint16(start + this.#ipBytes + TCP.urgent) === 0;
  }

  #remember(slab: Slab, start: number): void {
    copyBytes(slab, start, this.#last, 0, this.#headers);
    this.#lastBytes = this.#headers;
  }

  /** But for length, identification, sequence number, checksums and PSH. */
  #hasSameHeaders(slab: Slab, start: number): boolean {
    const a = slab.view;
    const b = this.#last.view;
    const ipv6 = this.#ipBytes === IPV6_HEADER_LENGTH;
    if (ipv6) {
      if (a.getInt32(start) !== b.getInt32(0) || a.getUint16(start + 6) !== b.getUint16(6)) return false;
    } else {
      if (a.getUint16(start) !== b.getUint16(0) || a.getInt32(start + 6) !== b.getInt32(6)) return false;
    }
    for (let at = ipv6 ? IPV6.addresses : IPV4.addresses; at < this.#ipBytes; at += 4) {
      if (a.getInt32(start + at) !== b.getInt32(at)) return false;
    }
    const tcp = this.#ipBytes;
    if (a.getInt32(start + tcp + TCP.ports) !== b.getInt32(tcp + TCP.ports)) return false;
    if (a.getInt32(start + tcp + TCP.acknowledgment) !== b.getInt32(tcp + TCP.acknowledgment)) return false;
    const rest = a.getInt32(start + tcp + TCP.flags) ^ b.getInt32(tcp + TCP.flags); // and the window
    if ((rest & ~(TcpFlag.PSH << 16)) !== 0) return false;
    for (let at = tcp + TCP_HEADER_LENGTH; at < this.#headers; at += 4) {
      if (a.getInt32(start + at) !== b.getInt32(at)) return false;
    }
    return true;
  }

  /** Whether its checksums are right: those of a train are not looked at again. */
  #isWhole(slab: Slab, start: number, end: number): boolean {
    const ipv6 = this.#ipBytes === IPV6_HEADER_LENGTH;
    if (!ipv6 && checksumOf(slab, start, start + IPV4_HEADER_LENGTH) !== 0) return false;
    const from = start + (ipv6 ? IPV6.addresses : IPV4.addresses); // addresses, header and data: all but two numbers
    return foldSum(sumWords(slab, from, end, PROTOCOL_TCP + end - start - this.#ipBytes)) === 0xffff;
  }
}
