import type { Tcb } from "../tcp/tcb.ts";
import type { IcmpRecord } from "../wire/icmp.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import type { UdpRecord } from "../wire/udp.ts";
import type { Firewall } from "./firewall.ts";
import { ConnState, Direction, FirewallPacket, Verdict } from "./packet.ts";

/** Where the stack's packets meet its rules on the way in. Without rules everything passes. */
export class InputGate {
  firewall: Firewall | undefined;
  readonly #packet = new FirewallPacket();

  /**
   * The verdict on a segment. `known` says that the connection is in the map, `tcb` is its TCB when it
   * is awake: its verdict is remembered there while the rules stay, and only counted.
   */
  tcp(
    ip: Ipv4Record,
    segment: TcpRecord,
    interfaceIndex: number,
    known: boolean,
    tcb: Tcb | undefined,
  ): Verdict {
    const firewall = this.firewall;
    if (firewall === undefined) return Verdict.Accept;
    if (
      tcb !== undefined && tcb.firewallGeneration === firewall.generation &&
      tcb.firewallInterface === interfaceIndex
    ) {
      firewall.charge(tcb.firewallRule, Direction.Input, ip.dataEnd - ip.headerStart);
      return Verdict.Accept;
    }
    const opens = (segment.flags & (TcpFlag.SYN | TcpFlag.ACK | TcpFlag.RST)) === TcpFlag.SYN;
    const state = known ? ConnState.Established : opens ? ConnState.New : ConnState.Invalid;
    const packet = this.#describe(ip, interfaceIndex, state, segment.sourcePort, segment.destinationPort);
    packet.tcpFlags = segment.flags & 0xff;
    const verdict = firewall.decide(packet);
    if (tcb !== undefined && verdict === Verdict.Accept) {
      tcb.firewallGeneration = firewall.generation;
      tcb.firewallRule = firewall.lastRule;
      tcb.firewallInterface = interfaceIndex;
    }
    return verdict;
  }

  /** The verdict of other rules than the stack's on a segment of a known connection. */
  ask(firewall: Firewall, ip: Ipv4Record, segment: TcpRecord, interfaceIndex: number): Verdict {
    const { sourcePort, destinationPort } = segment;
    const packet = this.#describe(ip, interfaceIndex, ConnState.Established, sourcePort, destinationPort);
    packet.tcpFlags = segment.flags & 0xff;
    return firewall.decide(packet);
  }

  udp(ip: Ipv4Record, record: UdpRecord, interfaceIndex: number): Verdict {
    if (this.firewall === undefined) return Verdict.Accept;
    const { sourcePort, destinationPort } = record;
    return this.firewall.decide(
      this.#describe(ip, interfaceIndex, ConnState.New, sourcePort, destinationPort),
    );
  }

  /** `quotesOurs` says that an ICMP error is about a connection or socket of ours. */
  icmp(
    ip: Ipv4Record,
    record: Pick<IcmpRecord, "type" | "hasQuote">,
    interfaceIndex: number,
    quotesOurs: boolean,
  ): Verdict {
    if (this.firewall === undefined) return Verdict.Accept;
    const state = !record.hasQuote ? ConnState.New : quotesOurs ? ConnState.Related : ConnState.Invalid;
    const packet = this.#describe(ip, interfaceIndex, state, 0, 0);
    packet.icmpType = record.type;
    return this.firewall.decide(packet);
  }

  /** A packet of a protocol without ports or types. */
  other(ip: Ipv4Record, interfaceIndex: number): Verdict {
    if (this.firewall === undefined) return Verdict.Accept;
    return this.firewall.decide(this.#describe(ip, interfaceIndex, ConnState.New, 0, 0));
  }

  #describe(
    ip: Ipv4Record,
    interfaceIndex: number,
    state: ConnState,
    sourcePort: number,
    destinationPort: number,
  ): FirewallPacket {
    const packet = this.#packet;
    packet.direction = Direction.Input;
    packet.interfaceIndex = interfaceIndex;
    packet.protocol = ip.protocol;
    packet.source = ip.source;
    packet.destination = ip.destination;
    packet.sourcePort = sourcePort;
    packet.destinationPort = destinationPort;
    packet.icmpType = 0;
    packet.tcpFlags = 0;
    packet.state = state;
    packet.length = ip.dataEnd - ip.headerStart;
    return packet;
  }
}
