import { copyBytes, Slab } from "../../base/slab.ts";
import { checksumOf, foldSum, pseudoSum, sumWords } from "../wire/checksum.ts";
import { IPV4_HEADER_LENGTH, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../wire/ipv6.ts";
import { UDP_HEADER_LENGTH } from "../wire/udp.ts";

/** The longest packet whose length the header can tell. */
const TRAIN_BYTES_MAX = 0xffff;
/** Linux cuts no more of one (UDP_MAX_SEGMENTS, 64 before it became 128). */
const DATAGRAMS_MAX = 64;
const HEADERS_MAX = IPV6_HEADER_LENGTH + UDP_HEADER_LENGTH;

const IPV4 = { length: 2, fragment: 6, protocol: 9, checksum: 10, addresses: 12 } as const;
const IPV6 = { length: 4, protocol: 6, addresses: 8 } as const;
const UDP = { length: 4, checksum: 6 } as const;
const DONT_FRAGMENT = 0x4000;

/**
 * Datagrams of one flow that are sent one after the other, as one packet for a device that cuts it (USO): those of one
 * length, and a shorter one behind them. They lie in `slab` from `start` on.
 */
export class DatagramTrain {
  readonly slab: Slab;
  readonly start: number;
  /** How many there are. */
  count = 0;
  /** Where the last one ends; 0 without any. */
  end = 0;
  /** Bytes of data in each but the last. */
  segmentBytes = 0;
  #headers = 0;
  #ended = false;

  /** @param start Bytes of room for what goes in front. */
  constructor(start: number) {
    this.start = start;
    this.slab = Slab.forPackets(start + TRAIN_BYTES_MAX);
  }

  /** Takes a copy of the packet in `[start, end)`; false when it does not belong to those that are there. */
  add(slab: Slab, start: number, end: number): boolean {
    const headers = headersOfDatagram(slab, start, end);
    const data = end - start - headers;
    if (headers === 0 || data <= 0) return false;
    if (this.count === 0) {
      copyBytes(slab, start, this.slab, this.start, end - start);
      this.end = this.start + end - start;
      this.segmentBytes = data;
      this.#headers = headers;
    } else {
      const fits = !this.#ended && this.count < DATAGRAMS_MAX && data <= this.segmentBytes &&
        this.end - this.start + data <= TRAIN_BYTES_MAX;
      if (!fits || headers !== this.#headers || !this.#isSameFlow(slab, start)) return false;
      copyBytes(slab, start + headers, this.slab, this.end, data);
      this.end += data;
    }
    this.#ended = data < this.segmentBytes;
    this.count++;
    return true;
  }

  /** Writes the lengths of the whole, and the sum of its pseudo-header in the place of the checksum. */
  finish(): void {
    const { view } = this.slab;
    const at = this.start;
    const length = this.end - at;
    const ipBytes = this.#headers - UDP_HEADER_LENGTH;
    const udp = at + ipBytes;
    const ipv6 = ipBytes === IPV6_HEADER_LENGTH;
    if (ipv6) {
      view.setUint16(at + IPV6.length, length - ipBytes);
    } else {
      view.setUint16(at + IPV4.length, length);
      view.setUint16(at + IPV4.checksum, 0);
      view.setUint16(at + IPV4.checksum, checksumOf(this.slab, at, udp));
    }
    const addresses = at + (ipv6 ? IPV6.addresses : IPV4.addresses);
    const sum = sumWords(this.slab, addresses, udp, pseudoSum(0, 0, PROTOCOL_UDP, length - ipBytes));
    view.setUint16(udp + UDP.length, length - ipBytes);
    view.setUint16(udp + UDP.checksum, foldSum(sum));
  }

  clear(): void {
    this.count = this.end = 0;
    this.#ended = false;
  }

  /** But for lengths and checksums. */
  #isSameFlow(slab: Slab, start: number): boolean {
    const a = slab.view;
    const b = this.slab.view;
    const at = this.start;
    const ipv6 = this.#headers === HEADERS_MAX;
    if (ipv6) {
      if (a.getInt32(start) !== b.getInt32(at) || a.getUint16(start + 6) !== b.getUint16(at + 6)) {
        return false;
      }
    } else if (a.getUint16(start) !== b.getUint16(at) || a.getUint16(start + 8) !== b.getUint16(at + 8)) {
      return false;
    }
    const ports = this.#headers - UDP_HEADER_LENGTH;
    for (let word = ipv6 ? IPV6.addresses : IPV4.addresses; word <= ports; word += 4) {
      if (a.getInt32(start + word) !== b.getInt32(at + word)) return false;
    }
    return true;
  }
}

/**
 * Length of both headers of a whole datagram that a device may put behind others: without IP options, and where its
 * identification means nothing (RFC 6864); 0 for everything else.
 */
function headersOfDatagram({ view }: Slab, start: number, end: number): number {
  const length = end - start;
  if (length < IPV4_HEADER_LENGTH + UDP_HEADER_LENGTH) return 0;
  const first = view.getUint8(start);
  let headers = 0;
  if (first === 0x45) {
    const plain = view.getUint8(start + IPV4.protocol) === PROTOCOL_UDP &&
      view.getUint16(start + IPV4.fragment) === DONT_FRAGMENT;
    if (plain) headers = IPV4_HEADER_LENGTH + UDP_HEADER_LENGTH;
  } else if (first >>> 4 === 6 && view.getUint8(start + IPV6.protocol) === PROTOCOL_UDP) {
    headers = HEADERS_MAX;
  }
  if (headers === 0 || length < headers) return 0;
  const udp = start + headers - UDP_HEADER_LENGTH;
  const whole = view.getUint16(udp + UDP.length) === end - udp && view.getUint16(udp + UDP.checksum) !== 0;
  return whole ? headers : 0;
}
