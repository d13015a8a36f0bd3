import type { Slab } from "../../base/slab.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP } from "../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../wire/ipv6.ts";
import type { Firewall } from "./firewall.ts";
import { ConnState, Direction, FirewallPacket, Verdict } from "./packet.ts";

/** Where the stack's own packets meet its rules on the way out. Without rules everything passes. */
export class OutputGate {
  firewall: Firewall | undefined;
  readonly #packet = new FirewallPacket();

  /** Whether a packet of `length` bytes, whose transport header stands at `at`, may leave by an interface. */
  allows(
    slab: Slab,
    at: number,
    protocol: number,
    source: number,
    destination: number,
    length: number,
    interfaceIndex: number,
  ): boolean {
    const { firewall } = this;
    if (firewall === undefined) return true;
    const packet = this.#packet;
    const { view } = slab;
    const ported = protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_ICMPV6;
    packet.direction = Direction.Output;
    packet.interfaceIndex = interfaceIndex;
    packet.protocol = protocol;
    packet.source = source;
    packet.destination = destination;
    packet.sourcePort = ported ? view.getUint16(at) : 0;
    packet.destinationPort = ported ? view.getUint16(at + 2) : 0;
    packet.icmpType = ported ? 0 : view.getUint8(at);
    packet.tcpFlags = protocol === PROTOCOL_TCP ? view.getUint8(at + 13) : 0;
    packet.length = length;
    // Everything but a SYN, a first datagram or an echo request answers somebody; conntrack refines this later.
    packet.state = protocol === PROTOCOL_TCP && (packet.tcpFlags & 0x12) !== 0x02
      ? ConnState.Established
      : ConnState.New;
    return firewall.decide(packet) === Verdict.Accept;
  }
}
