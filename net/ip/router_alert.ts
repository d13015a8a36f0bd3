import { Drop } from "../wire/drop.ts";
import { finishIcmpv6Checksum } from "../wire/icmpv6.ts";
import {
  IPV4_HEADER_LENGTH,
  IPV4_ROUTER_ALERT_LENGTH,
  Ipv4Record,
  writeIpv4RouterAlert,
} from "../wire/ipv4.ts";
import { IPV6_HEADER_LENGTH, NEXT_HOP_BY_HOP, PROTOCOL_ICMPV6, writeIpv6 } from "../wire/ipv6.ts";
import type { IpOutput } from "./output.ts";

/** DSCP CS6: what routers say to each other and about groups (RFC 3376 section 4). */
const INTERNETWORK_CONTROL = 0xc0;
/** A hop-by-hop header in front of ICMPv6 with a router alert for MLD, and two bytes of padding (RFC 3810 section 5). */
const ROUTER_ALERT6 = Uint8Array.of(PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0);
export const HOP_BY_HOP_ALERT_LENGTH = 8;

/**
 * Sends `slab[transportStart + 4, end)` to a group on one interface, not beyond this link: what routers
 * shall look at (RFC 2113). False when it was dropped on the way.
 */
export function sendWithRouterAlert(
  output: IpOutput,
  protocol: number,
  interfaceIndex: number,
  destination: number,
  end: number,
  nowMs: number,
): boolean {
  const ip = new Ipv4Record();
  const { slab, transportStart } = output;
  const start = transportStart - IPV4_HEADER_LENGTH;
  const source = output.routes.addressOn(interfaceIndex);
  ip.source = source;
  ip.destination = destination;
  ip.protocol = protocol;
  ip.typeOfService = INTERNETWORK_CONTROL;
  ip.timeToLive = 1;
  ip.dontFragment = true;
  ip.moreFragments = false;
  ip.fragmentOffset = ip.identification = 0;
  const length = end - start;
  if (!output.gate.allows(slab, transportStart, protocol, source, destination, length, interfaceIndex)) {
    output.drops.count(Drop.Firewall);
    return false;
  }
  writeIpv4RouterAlert(ip, slab, start, end - transportStart - IPV4_ROUTER_ALERT_LENGTH);
  return output.frames.sendPacket(interfaceIndex, destination, start, end, nowMs);
}

/**
 * Sends the ICMPv6 message `slab[transportStart, end)` to a group on one interface, not beyond this link, with
 * an alert for routers (RFC 2711): what MLD says. `source` may be `::`.
 */
export function sendIcmpv6WithAlert(
  output: IpOutput,
  interfaceIndex: number,
  source: number,
  destination: number,
  end: number,
  nowMs: number,
): boolean {
  const { slab, transportStart, addresses } = output;
  finishIcmpv6Checksum(slab, transportStart, end, addresses.sum(source), addresses.sum(destination));
  const optionsAt = transportStart - HOP_BY_HOP_ALERT_LENGTH;
  const start = optionsAt - IPV6_HEADER_LENGTH;
  slab.bytes.set(ROUTER_ALERT6, optionsAt);
  writeIpv6(slab, start, end - optionsAt, NEXT_HOP_BY_HOP, 0, 0, 1);
  addresses.write(source, slab, start + 8);
  addresses.write(destination, slab, start + 24);
  return output.frames.sendPacket(interfaceIndex, destination, start, end, nowMs);
}
