import { seqLess } from "../../base/sequence.ts";
import { Slab } from "../../base/slab.ts";
import type { CapturedPacket } from "../../net/link/pcapng_reader.ts";
import { formatIpv4 } from "../../net/wire/address.ts";
import { checksumOf, foldSum, sumWords } from "../../net/wire/checksum.ts";
import { ETHER_IPV4, ETHER_IPV6 } from "../../net/wire/ethernet.ts";
import { IPV4_HEADER_LENGTH, PROTOCOL_TCP, PROTOCOL_UDP } from "../../net/wire/ipv4.ts";
import { IPV6_HEADER_LENGTH } from "../../net/wire/ipv6.ts";
import { formatIpv6 } from "../../net/wire/ipv6_address.ts";
import { TCP_HEADER_LENGTH, type TcpFlag } from "../../net/wire/tcp.ts";
import { UDP_HEADER_LENGTH } from "../../net/wire/udp.ts";

/** Link types of tcpdump's registry whose packets are IP behind a header of fixed length. */
const IP_AT: Readonly<Record<number, { header: number; etherTypeAt?: number }>> = {
  0: { header: 4 }, // BSD loopback
  1: { header: 14, etherTypeAt: 12 }, // Ethernet
  101: { header: 0 }, // raw IP
  113: { header: 16, etherTypeAt: 14 }, // Linux "any"
  228: { header: 0 },
  229: { header: 0 },
  276: { header: 20, etherTypeAt: 0 }, // Linux "any", version 2
};
const ETHER_VLAN = 0x8100;
const VLAN_LENGTH = 4;
const TSO_LENGTH = 0; // what a packet's length says that the card has yet to cut

/** An IP packet of a capture, a copy, with what is needed to feed it to a stack. */
export class CapturedIp {
  readonly slab: Slab;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** Where the transport's header begins. */
  readonly at: number;
  /** Bytes are missing that were on the wire. */
  readonly cut: boolean;
  readonly fragment: boolean;

  private constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.slab = new Slab(bytes);
    const { view } = this.slab;
    const ipv6 = bytes[0]! >>> 4 === 6;
    const length = ipv6 ? view.getUint16(4) + IPV6_HEADER_LENGTH : view.getUint16(2);
    const header = ipv6 ? IPV6_HEADER_LENGTH : (bytes[0]! & 15) * 4;
    const whole = length < header || view.getUint16(ipv6 ? 4 : 2) === TSO_LENGTH ? bytes.length : length;
    this.cut = whole > bytes.length;
    if (whole < bytes.length) this.slab = new Slab(bytes.slice(0, whole)); // Ethernet's padding
    this.source = addressAt(this.slab, ipv6 ? 8 : 12, ipv6);
    this.destination = addressAt(this.slab, ipv6 ? 24 : 16, ipv6);
    this.protocol = bytes[ipv6 ? 6 : 9]!;
    this.at = header;
    this.fragment = !ipv6 && (view.getUint16(6) & 0x3fff) !== 0;
  }

  /** The IP packet in a captured frame; `undefined` when there is none, or not even its headers. */
  static of({ bytes, linkType }: CapturedPacket): CapturedIp | undefined {
    const layout = IP_AT[linkType];
    if (layout === undefined) return undefined;
    let { header } = layout;
    if (layout.etherTypeAt !== undefined) {
      const typeAt = (at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
      let type = typeAt(layout.etherTypeAt);
      if (type === ETHER_VLAN) {
        type = typeAt(header + 2);
        header += VLAN_LENGTH;
      }
      if (type !== ETHER_IPV4 && type !== ETHER_IPV6) return undefined;
    }
    const ip = bytes.slice(header);
    if (ip.length === 0) return undefined;
    const version = ip[0]! >>> 4;
    if (version === 6) return ip.length < IPV6_HEADER_LENGTH ? undefined : new CapturedIp(ip);
    const headerLength = (ip[0]! & 15) * 4;
    if (version !== 4 || headerLength < IPV4_HEADER_LENGTH || ip.length < headerLength) return undefined;
    return new CapturedIp(ip);
  }

  /** The TCP segment in it. */
  get tcp(): CapturedTcp | undefined {
    const { bytes } = this.slab;
    if (this.protocol !== PROTOCOL_TCP || this.fragment || bytes.length < this.at + TCP_HEADER_LENGTH) {
      return undefined;
    }
    const header = (bytes[this.at + 12]! >>> 4) * 4;
    if (header < TCP_HEADER_LENGTH || this.at + header > bytes.length) return undefined;
    return new CapturedTcp(this, header);
  }

  /** Ports and payload of the datagram in it. */
  get udp(): { sourcePort: number; destinationPort: number; data: Uint8Array<ArrayBuffer> } | undefined {
    const { bytes, view } = this.slab;
    if (this.protocol !== PROTOCOL_UDP || this.fragment || bytes.length < this.at + UDP_HEADER_LENGTH) {
      return undefined;
    }
    return {
      sourcePort: view.getUint16(this.at),
      destinationPort: view.getUint16(this.at + 2),
      data: bytes.slice(this.at + UDP_HEADER_LENGTH),
    };
  }

  /** Fills in the checksums: what was captured before the card did so has none. */
  finishChecksums(): void {
    const { bytes, view } = this.slab;
    const ipv6 = bytes[0]! >>> 4 === 6;
    if (!ipv6) {
      if (view.getUint16(2) === TSO_LENGTH) view.setUint16(2, bytes.length);
      view.setUint16(10, 0);
      view.setUint16(10, checksumOf(this.slab, 0, this.at));
    }
    const field = this.protocol === PROTOCOL_TCP ? 16 : this.protocol === PROTOCOL_UDP ? 6 : undefined;
    if (field === undefined || this.fragment || this.at + field + 2 > bytes.length) return;
    if (this.protocol === PROTOCOL_UDP && view.getUint16(this.at + field) === 0) return; // there is none
    view.setUint16(this.at + field, 0);
    const pseudo = sumWords(this.slab, ipv6 ? 8 : 12, ipv6 ? 40 : 20, this.protocol + bytes.length - this.at);
    const sum = ~foldSum(sumWords(this.slab, this.at, bytes.length, pseudo)) & 0xffff;
    view.setUint16(this.at + field, sum === 0 && this.protocol === PROTOCOL_UDP ? 0xffff : sum);
  }
}

/** A TCP segment of a capture, in place. */
export class CapturedTcp {
  readonly #slab: Slab;
  readonly #at: number;
  readonly #header: number;

  constructor({ slab, at }: CapturedIp, header: number) {
    this.#slab = slab;
    this.#at = at;
    this.#header = header;
  }

  get sourcePort(): number {
    return this.#slab.view.getUint16(this.#at);
  }
  get destinationPort(): number {
    return this.#slab.view.getUint16(this.#at + 2);
  }
  get sequence(): number {
    return this.#slab.view.getInt32(this.#at + 4);
  }
  get acknowledgment(): number {
    return this.#slab.view.getInt32(this.#at + 8);
  }
  has(flag: TcpFlag): boolean {
    return (this.#slab.bytes[this.#at + 13]! & flag) !== 0;
  }
  get data(): Uint8Array {
    return this.#slab.bytes.subarray(this.#at + this.#header);
  }

  /** Our timestamp, and the echoed one; `undefined` without the option. */
  get timestamps(): { value: number; echo: number } | undefined {
    const at = this.#option(8, 10);
    return at === undefined ? undefined : {
      value: this.#slab.view.getInt32(at + 2),
      echo: this.#slab.view.getInt32(at + 6),
    };
  }

  /** The largest segment that its sender wants; `undefined` without the option. */
  get mss(): number | undefined {
    const at = this.#option(2, 4);
    return at === undefined ? undefined : this.#slab.view.getUint16(at + 2);
  }

  /** Lets it acknowledge no more than has been sent. */
  acknowledgeAtMost(sequence: number): void {
    if (seqLess(sequence, this.acknowledgment)) this.#slab.view.setInt32(this.#at + 8, sequence);
  }

  /** Lets it acknowledge numbers of another stream: moves the acknowledgment, SACK's blocks and the echoed timestamp. */
  translate(numbers: number, timestamps: number): void {
    const { view } = this.#slab;
    view.setInt32(this.#at + 8, this.acknowledgment + numbers);
    const sack = this.#option(5, 10);
    if (sack !== undefined) {
      const end = sack + this.#slab.bytes[sack + 1]!;
      for (let at = sack + 2; at + 4 <= end; at += 4) view.setInt32(at, view.getInt32(at) + numbers);
    }
    const stamps = this.#option(8, 10);
    if (stamps !== undefined) view.setInt32(stamps + 6, view.getInt32(stamps + 6) + timestamps);
  }

  /** Where the option of a kind begins. */
  #option(kind: number, least: number): number | undefined {
    const { bytes } = this.#slab;
    const end = this.#at + this.#header;
    for (let at = this.#at + TCP_HEADER_LENGTH; at < end && bytes[at] !== 0;) {
      const length = bytes[at] === 1 ? 1 : bytes[at + 1] ?? 0;
      if (length < 1 || at + length > end) return undefined;
      if (bytes[at] === kind && length >= least) return at;
      at += length;
      if (length === 1 && bytes[at - 1] !== 1) return undefined;
    }
    return undefined;
  }
}

function addressAt({ view }: Slab, at: number, ipv6: boolean): string {
  if (!ipv6) return formatIpv4(view.getInt32(at));
  return formatIpv6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
}
