import type { AddressTable } from "../../ip/address_table.ts";
import { isIpv6Handle } from "../../wire/address.ts";
import { foldSum, sumWords } from "../../wire/checksum.ts";
import { isIcmpError } from "../../wire/icmp.ts";
import { Ipv4Record, PROTOCOL_ICMP, PROTOCOL_UDP, readQuotedIpv4 } from "../../wire/ipv4.ts";
import { Ipv6Record, PROTOCOL_ICMPV6, readQuotedIpv6 } from "../../wire/ipv6.ts";
import { Drop } from "../../wire/drop.ts";
import { Nfproto, type NftPacket } from "../nft/packet.ts";
import { FlowKey, hasPorts } from "./key.ts";
import { Hook } from "./state.ts";

/** What an ICMP message quotes. */
export const Quoted = { nothing: 0, readable: 1, unreadable: 2 } as const;
export type Quoted = (typeof Quoted)[keyof typeof Quoted];

const UDP_HEADER_BYTES = 8;
const ICMP_HEADER_BYTES = 8;
/** The highest type of ICMP that anybody knows (RFC 1122 section 3.2.2: others are to be ignored). */
const ICMP_TYPE_MAX = 18;
/** ICMPv6 types from here on are no errors. */
const ICMPV6_INFORMATION = 128;
const SOURCE4 = 12, SOURCE6 = 8;

/** Reads what tracking wants to know out of packets. One is made and used for all. */
export class PacketReader {
  /** Of the packet, or of what it quotes. */
  readonly key: FlowKey = new FlowKey();
  /** The table of addresses is full: the last packet cannot be followed. */
  full = false;
  readonly #addresses: AddressTable;
  readonly #quote4 = new Ipv4Record();
  readonly #quote6 = new Ipv6Record();

  constructor(addresses: AddressTable) {
    this.#addresses = addresses;
  }

  /** Fills `key` with that of the packet. @returns False when it has none. */
  readKey(packet: NftPacket): boolean {
    const at = packet.start + (packet.nfproto === Nfproto.Ipv6 ? SOURCE6 : SOURCE4);
    return this.#read(packet, at, packet.transport, packet.end, packet.protocol);
  }

  /** The packet's destination, as keys have it. */
  destinationOf(packet: NftPacket): number {
    return packet.nfproto === Nfproto.Ipv6
      ? this.#addresses.read(packet.slab, packet.start + SOURCE6 + 16, zoneOf(packet))
      : packet.slab.view.getInt32(packet.start + SOURCE4 + 4);
  }

  #read(packet: NftPacket, at: number, transport: number, end: number, protocol: number): boolean {
    const { slab } = packet;
    const { view } = slab;
    const { key } = this;
    this.full = false;
    let ports = 0;
    if (hasPorts(protocol)) {
      if (transport + 4 > end) return false;
      ports = view.getInt32(transport);
    } else if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
      if (transport + ICMP_HEADER_BYTES > end) return false;
      ports = (view.getUint16(transport + 4) << 16) | view.getUint16(transport);
    }
    let source: number, destination: number;
    if (packet.nfproto === Nfproto.Ipv6) {
      const zone = zoneOf(packet);
      source = this.#addresses.read(slab, at, zone);
      destination = source === 0 ? 0 : this.#addresses.read(slab, at + 16, zone);
      this.full = destination === 0;
      if (this.full) return false;
    } else {
      source = view.getInt32(at);
      destination = view.getInt32(at + 4);
      // What looks like a handle in an IPv4 header is a class E address, and nobody's.
      if (isIpv6Handle(source) || isIpv6Handle(destination)) return false;
    }
    key.set(source, destination, ports, protocol | (packet.track.zone << 8));
    return true;
  }

  /** Whether the packet is an ICMP message that may be looked at. */
  isIcmp(packet: NftPacket): boolean {
    const { slab, transport, end, protocol } = packet;
    if (transport + ICMP_HEADER_BYTES > end || !this.checksumOk(packet)) return false;
    return protocol === PROTOCOL_ICMPV6 || slab.bytes[transport]! <= ICMP_TYPE_MAX;
  }

  /** Fills `key` with that of the packet that an ICMP error quotes. */
  readQuote(packet: NftPacket): Quoted {
    const { slab, transport, end, protocol } = packet;
    const type = slab.bytes[transport]!;
    const at = transport + ICMP_HEADER_BYTES;
    if (protocol === PROTOCOL_ICMP) {
      const quote = this.#quote4;
      if (!isIcmpError(type)) return Quoted.nothing;
      if (readQuotedIpv4(slab, at, end, quote) !== Drop.None || quote.fragmentOffset !== 0) {
        return Quoted.unreadable;
      }
      const readable = this.#read(packet, at + SOURCE4, quote.dataStart, end, quote.protocol);
      return readable ? Quoted.readable : Quoted.unreadable;
    }
    const quote = this.#quote6;
    if (type >= ICMPV6_INFORMATION) return Quoted.nothing;
    if (readQuotedIpv6(slab, at, end, quote) !== Drop.None || quote.fragmentOffset !== 0) {
      return Quoted.unreadable;
    }
    const readable = this.#read(packet, at + SOURCE6, quote.dataStart, end, quote.protocol);
    return readable ? Quoted.readable : Quoted.unreadable;
  }

  /** Whether a UDP header is there, and as long as it says. */
  isDatagram({ slab, transport, end }: NftPacket): boolean {
    if (transport + UDP_HEADER_BYTES > end) return false;
    const length = slab.view.getUint16(transport + 4);
    return length >= UDP_HEADER_BYTES && length <= end - transport;
  }

  /** Whether the transport's checksum holds; as the kernel, it is looked at where packets come in, and nowhere else. */
  checksumOk(packet: NftPacket): boolean {
    if (packet.hook !== Hook.prerouting || packet.checksumLeft) return true;
    const { slab, start, transport, protocol } = packet;
    const { view } = slab;
    let { end } = packet;
    let pseudo = 0;
    if (protocol === PROTOCOL_UDP) {
      if (view.getUint16(transport + 6) === 0) return true;
      end = transport + view.getUint16(transport + 4);
    }
    if (protocol !== PROTOCOL_ICMP) {
      const ipv6 = packet.nfproto === Nfproto.Ipv6;
      const at = start + (ipv6 ? SOURCE6 : SOURCE4);
      pseudo = sumWords(slab, at, at + (ipv6 ? 32 : 8), protocol + end - transport);
    }
    return foldSum(sumWords(slab, transport, end, pseudo)) === 0xffff;
  }
}

/** Types of group membership (RFC 2710, 3810), neighbour discovery but redirects, and multicast routers (RFC 4286). */
const NEIGHBOURLY: ReadonlySet<number> = new Set([130, 131, 132, 133, 134, 135, 136, 143, 151, 152]);

/** Whether an ICMPv6 message is not to be tracked, as the kernel has it. */
export function isNeighbourly(packet: NftPacket): boolean {
  return packet.protocol === PROTOCOL_ICMPV6 && NEIGHBOURLY.has(packet.slab.bytes[packet.transport]!);
}

/** Link-local addresses of several links are several. */
function zoneOf(packet: NftPacket): number {
  return (packet.iif >= 0 ? packet.iif : packet.oif) + 1;
}
