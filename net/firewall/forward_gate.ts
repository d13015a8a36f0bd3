import type { Slab } from "../../base/slab.ts";
import { isIcmpError } from "../wire/icmp.ts";
import { isIcmpv6Error } from "../wire/icmpv6.ts";
import { PROTOCOL_ICMPV6 } from "../wire/ipv6.ts";
import { type Ipv4Record, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { TcpFlag } from "../wire/tcp.ts";
import type { InputGate } from "./gate.ts";
import { ConnState, Direction, FirewallPacket, Verdict } from "./packet.ts";

/** Bytes of a TCP header up to its flags, and of a UDP header up to its ports. */
const TCP_FLAGS_AT = 13;
const PORTS_BYTES = 4;

/**
 * Where packets that pass through meet the rules. No connection is tracked: a segment that does not open
 * one is `established`, an ICMP error is `related`, everything else is `new`; what is too short for its
 * protocol's header is `invalid`.
 */
export class ForwardGate {
  readonly #input: InputGate;
  readonly #packet = new FirewallPacket();

  /** @param input Holds the rules in force. */
  constructor(input: InputGate) {
    this.#input = input;
  }

  /**
   * The verdict on a whole packet that came in on an interface.
   * @param readable False when its protocol could not be found behind its extension headers: it is invalid.
   */
  judge(ip: Ipv4Record, slab: Slab, interfaceIndex: number, readable = true): Verdict {
    const { firewall } = this.#input;
    if (firewall === undefined) return Verdict.Accept;
    const packet = this.#packet;
    const { view } = slab;
    const { protocol, dataStart } = ip;
    const length = ip.dataEnd - dataStart;
    const ported = (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) && length >= PORTS_BYTES;
    packet.direction = Direction.Forward;
    packet.interfaceIndex = interfaceIndex;
    packet.protocol = protocol;
    packet.source = ip.source;
    packet.destination = ip.destination;
    packet.sourcePort = ported ? view.getUint16(dataStart) : 0;
    packet.destinationPort = ported ? view.getUint16(dataStart + 2) : 0;
    const icmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
    packet.icmpType = icmp && length > 0 ? view.getUint8(dataStart) : 0;
    packet.tcpFlags = protocol === PROTOCOL_TCP && length > TCP_FLAGS_AT
      ? view.getUint8(dataStart + TCP_FLAGS_AT)
      : 0;
    packet.state = readable ? stateOf(packet, length) : ConnState.Invalid;
    packet.length = ip.dataEnd - ip.headerStart;
    return firewall.decide(packet);
  }
}

function stateOf(packet: FirewallPacket, length: number): ConnState {
  switch (packet.protocol) {
    case PROTOCOL_TCP:
      if (length <= TCP_FLAGS_AT) return ConnState.Invalid;
      return (packet.tcpFlags & (TcpFlag.SYN | TcpFlag.ACK | TcpFlag.RST)) === TcpFlag.SYN
        ? ConnState.New
        : ConnState.Established;
    case PROTOCOL_UDP:
      return length < PORTS_BYTES ? ConnState.Invalid : ConnState.New;
    case PROTOCOL_ICMP:
      return isIcmpError(packet.icmpType) ? ConnState.Related : ConnState.New;
    case PROTOCOL_ICMPV6:
      return isIcmpv6Error(packet.icmpType) ? ConnState.Related : ConnState.New;
    default:
      return ConnState.New;
  }
}
