import type { Slab } from "../../../base/slab.ts";
import type { AddressTable } from "../../ip/address_table.ts";
import { isIpv6Handle } from "../../wire/address.ts";
import { foldSum, sumWords } from "../../wire/checksum.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import { hasIdentifier, hasPorts } from "../conntrack/key.ts";

/** Which end of a packet is rewritten: `enum nf_nat_manip_type`. */
export const End = { source: 0, destination: 1 } as const;
export type End = (typeof End)[keyof typeof End];

const IPV4_AT = { checksum: 10, address: [12, 16] } as const;
const IPV6_AT = { address: [8, 24] } as const;
const IPV4_BYTES = 4, IPV6_BYTES = 16;
const PORT_BYTES = 2;
/** What must be there of a transport header, also of one that is quoted. */
const TRANSPORT_BYTES_MIN = 8;
const ICMP_AT = { type: 0, checksum: 2, identifier: 4 } as const;
/** Protocols whose checksum is over the addresses too, beside TCP, UDP and ICMPv6 (RFC 4340, RFC 3828). */
/** What the kernel knows to be longer than its first word (gre_manip_pkt()). */
const PROTOCOL_GRE = 47;
const PROTOCOL_DCCP = 33, PROTOCOL_UDPLITE = 136;

/** Where the checksum over the pseudo-header stands in a transport header, -1 where there is none. */
function checksumAt(protocol: number): number {
  switch (protocol) {
    case PROTOCOL_TCP:
      return 16;
    case PROTOCOL_UDP:
    case PROTOCOL_UDPLITE:
    case PROTOCOL_DCCP:
      return 6;
    case PROTOCOL_ICMPV6:
      return ICMP_AT.checksum;
    default:
      return -1;
  }
}

/**
 * A checksum after words that add up to `before` have become words that add up to `after`, both as 16 bits: RFC 1624,
 * equation 3.
 */
export function updateChecksum(checksum: number, before: number, after: number): number {
  return ~foldSum((~checksum & 0xffff) + (~before & 0xffff) + after) & 0xffff;
}

/**
 * Gives one end of the packet in `[start, end)` another address and port, and brings every checksum up to date
 * without reading the rest. The transport header stands at `transport`; of a quotation it may be cut short behind 8
 * bytes.
 *
 * @returns False when there is less, and nothing has been done.
 * @param port Of ICMP queries the identifier; ignored where the protocol has neither.
 * @param partial The transport's checksum is the pseudo-header's sum, not inverted: a device fills in the rest.
 */
export function rewriteEnd(
  slab: Slab,
  start: number,
  transport: number,
  end: number,
  protocol: number,
  which: End,
  address: number,
  port: number,
  addresses: AddressTable,
  partial: boolean,
): boolean {
  const { view } = slab;
  const ported = hasPorts(protocol);
  const icmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
  if ((ported || icmp || protocol === PROTOCOL_GRE) && transport + TRANSPORT_BYTES_MIN > end) return false;
  const ipv6 = isIpv6Handle(address);
  const at = start + (ipv6 ? IPV6_AT : IPV4_AT).address[which];
  const before = foldSum(sumWords(slab, at, at + (ipv6 ? IPV6_BYTES : IPV4_BYTES), 0));
  const after = foldSum(addresses.sum(address) >>> 0);
  if (ipv6) addresses.write(address, slab, at);
  else {
    view.setInt32(at, address);
    const field = start + IPV4_AT.checksum;
    view.setUint16(field, updateChecksum(view.getUint16(field), before, after));
  }
  const field = transport + checksumAt(protocol);
  if (field >= transport && field + 2 <= end) fix(slab, field, protocol, before, after, partial);
  if (ported) {
    const portAt = transport + PORT_BYTES * which;
    const old = view.getUint16(portAt);
    view.setUint16(portAt, port);
    if (!partial && field + 2 <= end) fix(slab, field, protocol, old, port, false);
  } else if (icmp && hasIdentifier(protocol, view.getUint8(transport + ICMP_AT.type))) {
    const old = view.getUint16(transport + ICMP_AT.identifier);
    view.setUint16(transport + ICMP_AT.identifier, port);
    fix(slab, transport + ICMP_AT.checksum, protocol, old, port, false);
  }
  return true;
}

function fix(
  slab: Slab,
  field: number,
  protocol: number,
  before: number,
  after: number,
  partial: boolean,
): void {
  const { view } = slab;
  const checksum = view.getUint16(field);
  if (partial) {
    view.setUint16(field, foldSum(checksum + (~before & 0xffff) + after));
    return;
  }
  if (protocol === PROTOCOL_UDP && checksum === 0) return; // the sender made none (RFC 768)
  const updated = updateChecksum(checksum, before, after);
  view.setUint16(field, protocol === PROTOCOL_UDP && updated === 0 ? 0xffff : updated);
}
