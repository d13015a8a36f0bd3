import { formatIpv4, maskOf } from "../wire/address.ts";
import { type DhcpMessage, DhcpOption } from "./message.ts";

/** What a server has given, and until when: plain data that JSON keeps. Times are epoch milliseconds. */
export interface DhcpLease {
  /** The address that was given. */
  readonly address: string;
  /** Bits of its network's prefix. */
  readonly prefixLength: number;
  /** Who gave it, and is asked to renew it. */
  readonly server: string;
  /** Routers on the link, the preferred one first. */
  readonly routers: readonly string[];
  /** Routes beside the network of the address (RFC 3442, else those through the first router). */
  readonly routes: readonly { readonly destination: string; readonly gateway?: string }[];
  /** Addresses of name servers, the preferred one first. */
  readonly nameServers: readonly string[];
  /** The domain that short names are looked for in. */
  readonly domain?: string;
  /** The longest packet, in bytes. */
  readonly mtu?: number;
  /** When renewing and rebinding begin, and when the address must not be used any more; `null` for never. */
  readonly renewAtMs: number | null;
  /** From when on every server is asked (T2). */
  readonly rebindAtMs: number | null;
  /** Until when it holds. */
  readonly expiresAtMs: number | null;
}

/** A lease of this many seconds is for ever (RFC 2131 section 3.3). */
const FOREVER = 0xffff_ffff;
/** A shorter one would keep us renewing all the time. */
const LEASE_SECONDS_MIN = 10;
/** RFC 2132 section 5.1: 68 at least; below 576 it is a mistake or an attack. */
const MTU_MIN = 576;
/** Servers, routers and routes of one lease: more than anybody's network has. */
const LIST_MAX = 64;

/**
 * The lease that an acknowledgment gives, asked for at `nowMs`; `undefined` when it is none: no server, no
 * time, an address that is no host's.
 */
export function leaseOf(message: DhcpMessage, nowMs: number): DhcpLease | undefined {
  const { options, yourAddress } = message;
  const seconds = uint32(options.get(DhcpOption.LeaseTime));
  const server = addresses(options.get(DhcpOption.ServerIdentifier))[0];
  if (seconds === undefined || server === undefined || !isHost(yourAddress)) return undefined;
  const prefixLength = prefixOf(options.get(DhcpOption.SubnetMask), yourAddress);
  const routers = addresses(options.get(DhcpOption.Router));
  const classless = classlessRoutes(options.get(DhcpOption.ClasslessRoutes));
  const domain = text(options.get(DhcpOption.DomainName));
  const mtu = uint16(options.get(DhcpOption.InterfaceMtu));
  const lasts = Math.max(seconds, LEASE_SECONDS_MIN);
  const after = (option: number, share: number, latest: number): number => {
    const given = uint32(options.get(option));
    return given !== undefined && given > 0 && given < latest ? given : Math.floor(lasts * share);
  };
  const rebind = after(DhcpOption.RebindingTime, 0.875, lasts);
  const renew = Math.min(rebind, after(DhcpOption.RenewalTime, 0.5, rebind));
  const at = (late: number): number | null => seconds === FOREVER ? null : nowMs + late * 1_000;
  return {
    address: formatIpv4(yourAddress),
    prefixLength,
    server,
    routers,
    // RFC 3442: who sends routes means them instead of the routers.
    routes: classless ?? routers.slice(0, 1).map((gateway) => ({ destination: "0.0.0.0/0", gateway })),
    nameServers: addresses(options.get(DhcpOption.DomainNameServer)),
    ...(domain === undefined ? {} : { domain }),
    ...(mtu === undefined || mtu < MTU_MIN ? {} : { mtu }),
    renewAtMs: at(renew),
    rebindAtMs: at(rebind),
    expiresAtMs: at(lasts),
  };
}

function isHost(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

function uint32(value: Uint8Array | undefined): number | undefined {
  if (value?.length !== 4) return undefined;
  return new DataView(value.buffer, value.byteOffset).getUint32(0);
}

function uint16(value: Uint8Array | undefined): number | undefined {
  return value?.length === 2 ? value[0]! * 256 + value[1]! : undefined;
}

function int32At(value: Uint8Array, at: number): number {
  return new DataView(value.buffer, value.byteOffset + at).getInt32(0);
}

/** Hosts' addresses; what is none is passed over. */
function addresses(value: Uint8Array | undefined): string[] {
  const found: string[] = [];
  for (let at = 0; value !== undefined && at + 4 <= value.length && found.length < LIST_MAX; at += 4) {
    const address = int32At(value, at);
    if (isHost(address)) found.push(formatIpv4(address));
  }
  return found;
}

/** The mask's length; without a mask the one that the address's class had. */
function prefixOf(mask: Uint8Array | undefined, address: number): number {
  if (mask?.length === 4) {
    const bits = int32At(mask, 0);
    for (let length = 1; length <= 32; length++) if (maskOf(length) === bits) return length;
  }
  const first = address >>> 24;
  return first < 128 ? 8 : first < 192 ? 16 : 24;
}

/** Printable ASCII without trailing zeros: what a name may consist of. */
function text(value: Uint8Array | undefined): string | undefined {
  if (value === undefined) return undefined;
  const name = String.fromCharCode(...value.subarray(0, 255)).replace(/\0+$/, "");
  return /^[\w.-]+$/.test(name) ? name : undefined;
}

/** RFC 3442: prefix length, as many bytes of the destination as it has, router. */
function classlessRoutes(value: Uint8Array | undefined): DhcpLease["routes"] | undefined {
  if (value === undefined) return undefined;
  const routes: { destination: string; gateway?: string }[] = [];
  for (let at = 0; at < value.length;) {
    const length = value[at++]!;
    const significant = Math.ceil(length / 8);
    if (length > 32 || at + significant + 4 > value.length) return undefined; // RFC 3442: then all of it is void
    let destination = 0;
    for (let byte = 0; byte < significant; byte++) destination |= value[at + byte]! << (24 - 8 * byte);
    const gateway = int32At(value, at + significant);
    at += significant + 4;
    if (routes.length >= LIST_MAX || (gateway !== 0 && !isHost(gateway))) continue;
    routes.push({
      destination: `${formatIpv4(destination & maskOf(length))}/${length}`,
      ...(gateway === 0 ? {} : { gateway: formatIpv4(gateway) }), // 0.0.0.0: the network is on this link
    });
  }
  return routes;
}
