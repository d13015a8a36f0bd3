import { HANDED_ON } from "../../../base/handed_on.ts";
import { Slab } from "../../../base/slab.ts";
import { NEXT_FRAGMENT } from "../../wire/ipv6.ts";
import { Hook, PacketTrack } from "../conntrack/state.ts";

/** `meta nfproto`: the families as netfilter numbers them. */
export const Nfproto = { Ipv4: 2, Ipv6: 10 } as const;

/** `meta pkttype`, by the kernel's numbers. */
export const PacketType = { Host: 0, Broadcast: 1, Multicast: 2, OtherHost: 3, Loopback: 5 } as const;

const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
/** Extension headers that are walked past in search of the transport, the longest chain that ours reads too. */
const EXTENSIONS_MAX = 16;

/**
 * A packet as rules see it: the bytes, and what the kernel keeps beside them. One is made and moved from
 * packet to packet; what travels with a packet from hook to hook (mark, connection) stays until `moveTo`.
 */
export class NftPacket {
  slab: Slab = EMPTY;
  /** Offsets into the slab: the IP header and the end that its length names. */
  start = 0;
  end = 0;
  /** Where the Ethernet header stands, -1 without one. */
  linkStart = -1;
  /** 4 or 6 as `Nfproto`. */
  nfproto: number = Nfproto.Ipv4;
  /** The protocol behind all extension headers, -1 where it was not found: no rule about it holds. */
  protocol = -1;
  /** Where the transport header stands, -1 in a later fragment and where there is none. */
  transport = -1;
  hook: Hook = Hook.prerouting;
  /** Where it came in and where it leaves, as indices of the stack; -1 is none. */
  iif = -1;
  oif = -1;
  packetType: number = PacketType.Host;
  mark = 0;
  priority = 0;
  /** `meta nftrace set 1`. */
  traced = false;
  /** Which one this is, of those that this object has been moved to: what a trace is known by. */
  number = 0;
  /** The transport's checksum is the pseudo-header's sum, not inverted: a device was, or is, to fill in the rest. */
  checksumLeft = false;
  /** Rules have written to it. */
  written = false;
  /** What connection tracking knows of it. */
  readonly track: PacketTrack = new PacketTrack();
  /** Epoch milliseconds. */
  nowMs: number = HANDED_ON;

  /**
   * Moves to the IP packet in `[start, end)`, whose header has been checked, and forgets what was said of the
   * packet before.
   */
  moveTo(slab: Slab, start: number, end: number, nowMs: number): void {
    this.number++;
    this.slab = slab;
    this.start = start;
    this.end = end;
    this.nowMs = nowMs;
    this.linkStart = this.iif = this.oif = -1;
    this.packetType = PacketType.Host;
    this.mark = this.priority = 0;
    this.traced = this.checksumLeft = this.written = false;
    this.track.clear();
    this.locate();
  }

  /** The same packet with bytes of its own: what is written to it does not leave. */
  copy(): NftPacket {
    const { start, end, track } = this;
    const made = new NftPacket();
    made.moveTo(new Slab(this.slab.bytes.slice(start, end)), 0, end - start, this.nowMs);
    made.hook = this.hook;
    made.iif = this.iif;
    made.oif = this.oif;
    made.packetType = this.packetType;
    made.mark = this.mark;
    made.priority = this.priority;
    made.traced = this.traced;
    made.number = this.number;
    made.checksumLeft = this.checksumLeft;
    Object.assign(made.track, track);
    return made;
  }

  /** Finds the transport header again: after an address translation that moved it nothing has to be done. */
  locate(): void {
    const { bytes } = this.slab;
    const { start, end } = this;
    this.transport = this.protocol = -1;
    if (bytes[start]! >>> 4 !== 6) {
      this.nfproto = Nfproto.Ipv4;
      if (end - start < IPV4_HEADER_BYTES) return;
      this.protocol = bytes[start + 9]!;
      const later = (bytes[start + 6]! & 0x1f) | bytes[start + 7]!;
      if (later === 0) this.transport = start + ((bytes[start]! & 15) << 2);
      return;
    }
    this.nfproto = Nfproto.Ipv6;
    this.#locate6(bytes, start + IPV6_HEADER_BYTES, end);
  }

  /** As the kernel's ipv6_find_hdr(): past every extension header to what is none. */
  #locate6(bytes: Uint8Array, at: number, end: number): void {
    if (at > end) return;
    let next = bytes[this.start + 6]!;
    for (let count = 0; count < EXTENSIONS_MAX; count++) {
      if (!isExtension(next)) {
        this.protocol = next;
        this.transport = at;
        return;
      }
      if (at + 2 > end) return;
      if (next === NEXT_FRAGMENT) {
        if (at + 8 > end) return;
        const later = (bytes[at + 2]! << 8) | (bytes[at + 3]! & 0xf8);
        if (later !== 0) {
          // A later piece: the protocol is known, its header is not here.
          if (!isExtension(bytes[at]!)) this.protocol = bytes[at]!;
          return;
        }
      }
      const length = next === NEXT_FRAGMENT
        ? 8
        : next === AUTH
        ? (bytes[at + 1]! + 2) << 2
        : (bytes[at + 1]! + 1) << 3;
      next = bytes[at]!;
      at += length;
      if (at > end) return;
    }
  }
}

const EMPTY = Slab.of(0);
const AUTH = 51;

/** The kernel's ipv6_ext_hdr(), without "no next header": hop by hop, routing, fragment, AH, destination options. */
function isExtension(next: number): boolean {
  return next === 0 || next === 43 || next === NEXT_FRAGMENT || next === AUTH || next === 60;
}
