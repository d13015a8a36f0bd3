import type { Slab } from "../../base/slab.ts";
import { Drop } from "./drop.ts";
import { ICMPV6_HEADER_LENGTH, Icmpv6Type } from "./icmpv6.ts";

/** Options of neighbour discovery (RFC 4861 section 4.6, RFC 8106). */
export const NdpOption = { sourceLink: 1, targetLink: 2, prefix: 3, mtu: 5, rdnss: 25 } as const;

/** Prefixes, and name servers, taken from one advertisement: Linux has no limit, a link has one or two. */
export const NDP_PREFIXES_MAX = 16;
export const NDP_SERVERS_MAX = 8;

/** Flags of a neighbour advertisement. */
export const NeighborFlag = { router: 0x80, solicited: 0x40, override: 0x20 } as const;

/** Bytes of a target, and of a link-layer address option for Ethernet. */
export const NDP_TARGET_LENGTH = 16;
export const NDP_LINK_OPTION_LENGTH = 8;

const PREFIX_OPTION_LENGTH = 32;

/** A prefix option: offset of its prefix in the slab, and its fields. */
export class NdpPrefix {
  prefixAt = 0;
  prefixLength = 0;
  onLink = false;
  autonomous = false;
  /** Seconds; 2^32 - 1 is for ever. */
  validS = 0;
  preferredS = 0;
}

/** A message of neighbour discovery. Fields that its type does not have are left over from an earlier one. */
export class NdpRecord {
  type = 0;
  /** Neighbour messages: offset of the target address. */
  targetAt = 0;
  /** Neighbour advertisement: `NeighborFlag` bits. */
  flags = 0;
  /** The link-layer address option that the type may have: source or target. */
  hasLink = false;
  linkHi = 0;
  linkLo = 0;
  // Router advertisement
  hopLimit = 0;
  routerLifetimeS = 0;
  reachableMs = 0;
  retransmitMs = 0;
  /** 0 when absent. */
  mtu = 0;
  prefixCount = 0;
  readonly prefixes: readonly NdpPrefix[] = Array.from({ length: NDP_PREFIXES_MAX }, () => new NdpPrefix());
  serverCount = 0;
  /** Offsets of recursive name servers' addresses. */
  readonly servers: Int32Array<ArrayBuffer> = new Int32Array(NDP_SERVERS_MAX);
  /** By server, in seconds. */
  readonly serverLifetimesS: Float64Array<ArrayBuffer> = new Float64Array(NDP_SERVERS_MAX);
}

/** Bytes of a message's fixed part, its ICMPv6 header included. */
function fixedLength(type: number): number {
  if (type === Icmpv6Type.RouterSolicitation) return 8;
  if (type === Icmpv6Type.RouterAdvertisement) return 16;
  return type === Icmpv6Type.Redirect ? 40 : 24;
}

/**
 * Fills `into` from the ICMPv6 message in `[start, end)`, whose checksum is right and whose type is one of
 * neighbour discovery's.
 *
 * Judges code, length and options (RFC 4861 sections 6.1, 7.1); hop limit and addresses are the caller's to
 * judge.
 *
 * @returns `Drop.None` or `Drop.NdpMalformed`, and then `into` is half filled.
 */
export function readNdp(slab: Slab, start: number, end: number, into: NdpRecord): Drop {
  const { bytes, view } = slab;
  const type = bytes[start]!;
  const fixed = fixedLength(type);
  if (end - start < fixed || bytes[start + 1] !== 0) return Drop.NdpMalformed;
  into.type = type;
  into.hasLink = false;
  into.mtu = 0;
  into.prefixCount = 0;
  into.serverCount = 0;
  if (type === Icmpv6Type.RouterAdvertisement) {
    into.hopLimit = bytes[start + 4]!;
    into.routerLifetimeS = view.getUint16(start + 6);
    into.reachableMs = view.getUint32(start + 8);
    into.retransmitMs = view.getUint32(start + 12);
  } else if (type !== Icmpv6Type.RouterSolicitation) {
    into.targetAt = start + ICMPV6_HEADER_LENGTH;
    into.flags = type === Icmpv6Type.NeighborAdvertisement ? bytes[start + 4]! : 0;
  }
  for (let at = start + fixed; at < end;) {
    const length = at + 1 < end ? 8 * bytes[at + 1]! : 0;
    if (length === 0 || at + length > end) return Drop.NdpMalformed;
    readOption(slab, at, length, into);
    at += length;
  }
  return Drop.None;
}

function readOption(slab: Slab, at: number, length: number, into: NdpRecord): void {
  const { bytes, view } = slab;
  const { type } = into;
  const router = type === Icmpv6Type.RouterAdvertisement;
  const target = type === Icmpv6Type.NeighborAdvertisement || type === Icmpv6Type.Redirect;
  switch (bytes[at]) {
    case NdpOption.sourceLink:
    case NdpOption.targetLink:
      if ((bytes[at] === NdpOption.targetLink) !== target || length !== NDP_LINK_OPTION_LENGTH) return;
      into.hasLink = true;
      into.linkHi = view.getUint16(at + 2);
      into.linkLo = view.getInt32(at + 4);
      return;
    case NdpOption.prefix: {
      if (!router || length !== PREFIX_OPTION_LENGTH || into.prefixCount === NDP_PREFIXES_MAX) return;
      const prefix = into.prefixes[into.prefixCount++]!;
      prefix.prefixLength = bytes[at + 2]!;
      prefix.onLink = (bytes[at + 3]! & 0x80) !== 0;
      prefix.autonomous = (bytes[at + 3]! & 0x40) !== 0;
      prefix.validS = view.getUint32(at + 4);
      prefix.preferredS = view.getUint32(at + 8);
      prefix.prefixAt = at + 16;
      return;
    }
    case NdpOption.mtu:
      if (router && length === 8) into.mtu = view.getUint32(at + 4);
      return;
    case NdpOption.rdnss: {
      if (!router || length < 24 || length % 16 !== 8) return;
      for (let server = at + 8; server < at + length && into.serverCount < NDP_SERVERS_MAX; server += 16) {
        into.serverLifetimesS[into.serverCount] = view.getUint32(at + 4);
        into.servers[into.serverCount++] = server;
      }
    }
  }
}

/**
 * Writes a solicitation or advertisement at `at`, for a target that the caller writes at `at` + 8 (not for
 * routers), its checksum left zero. `hi`, `lo` is the station of the link-layer address option; the
 * option is left out when both are 0.
 *
 * @returns Where the message ends.
 */
export function writeNdp(
  type: number,
  flags: number,
  hi: number,
  lo: number,
  slab: Slab,
  at: number,
): number {
  const view = slab.view;
  view.setUint16(at, type << 8);
  view.setUint16(at + 2, 0);
  view.setInt32(at + 4, flags << 24);
  const option = at + fixedLength(type);
  if ((hi | lo) === 0) return option;
  view.setUint8(
    option,
    type === Icmpv6Type.NeighborAdvertisement ? NdpOption.targetLink : NdpOption.sourceLink,
  );
  view.setUint8(option + 1, 1);
  view.setUint16(option + 2, hi);
  view.setInt32(option + 4, lo);
  return option + NDP_LINK_OPTION_LENGTH;
}
