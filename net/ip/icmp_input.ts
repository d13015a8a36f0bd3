import type { Slab } from "../../base/slab.ts";
import type { InputGate } from "../firewall/gate.ts";
import { Verdict } from "../firewall/packet.ts";
import type { Stack } from "../stack.ts";
import { isIpv6Handle } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import { IcmpRecord, readIcmp } from "../wire/icmp.ts";
import { Icmpv6Record, Icmpv6Type, readIcmpv6 } from "../wire/icmpv6.ts";
import { type Ipv4Record, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { MldType } from "../wire/mld.ts";
import { icmpInput, refuseDatagram } from "./icmp.ts";
import { sendEchoReply6, translateError } from "./icmpv6.ts";

/** ICMP messages of either family on their way in: checked, judged, and given to whom they concern. */
export class IcmpInput {
  readonly #stack: Stack;
  readonly #gate: InputGate;
  readonly #icmp = new IcmpRecord();
  readonly #icmp6 = new Icmpv6Record();

  constructor(stack: Stack, gate: InputGate) {
    this.#stack = stack;
    this.#gate = gate;
  }

  /** The ICMP message that `ip` describes. */
  input(interfaceIndex: number, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    const record = this.#icmp;
    const stack = this.#stack;
    const reason = readIcmp(slab, ip.dataStart, ip.dataEnd, record);
    if (reason !== Drop.None) return reason;
    const { quote } = record;
    if (record.hasQuote && (isIpv6Handle(quote.source) || isIpv6Handle(quote.destination))) {
      return Drop.IcmpType;
    }
    const verdict = this.#gate.icmp(ip, record, interfaceIndex, this.#quotesOurs(record));
    if (verdict !== Verdict.Accept) return refuseDatagram(stack, verdict, ip, slab, nowMs);
    return icmpInput(stack, interfaceIndex, ip, record, slab, nowMs);
  }

  /** The ICMPv6 message that `ip` describes: neighbour discovery, groups, echo, errors. */
  input6(interfaceIndex: number, ip: Ipv4Record, slab: Slab, nowMs: number): Drop {
    const record = this.#icmp6;
    const stack = this.#stack;
    const { addresses } = stack;
    const from = addresses.sum(ip.source);
    const reason = readIcmpv6(slab, ip.dataStart, ip.dataEnd, from, addresses.sum(ip.destination), record);
    if (reason !== Drop.None) return reason;
    if (record.type >= Icmpv6Type.RouterSolicitation && record.type <= Icmpv6Type.Redirect) {
      // As ARP, it is no business of the firewall's rules.
      const through = stack.output.interfaces[interfaceIndex];
      return through === undefined ? Drop.NdpMalformed : stack.ndp.input(through, ip, slab, nowMs);
    }
    if (record.type === MldType.Query || record.type === MldType.Report1) {
      return stack.mld.input(interfaceIndex, ip, slab, nowMs);
    }
    const known = translateError(stack, record, slab, interfaceIndex + 1, this.#icmp);
    const verdict = this.#gate.icmp(ip, record, interfaceIndex, known && this.#quotesOurs(this.#icmp));
    if (verdict !== Verdict.Accept) return refuseDatagram(stack, verdict, ip, slab, nowMs);
    if (record.type === Icmpv6Type.Echo) return sendEchoReply6(stack, ip, record, slab, nowMs);
    return known ? icmpInput(stack, interfaceIndex, ip, this.#icmp, slab, nowMs) : Drop.IcmpType;
  }

  /** Whether an ICMP error is about a connection or socket of ours. */
  #quotesOurs(icmp: IcmpRecord): boolean {
    if (!icmp.hasQuote) return false;
    const { source, destination, protocol } = icmp.quote;
    if (protocol === PROTOCOL_UDP) {
      return this.#stack.udp.find(source, icmp.quoteSourcePort, destination, icmp.quoteDestinationPort) !==
        undefined;
    }
    if (protocol !== PROTOCOL_TCP) return false;
    return this.#stack.connections.find(
      source,
      destination,
      icmp.quoteSourcePort,
      icmp.quoteDestinationPort,
    ) >= 0;
  }
}
