import type { Slab } from "../../base/slab.ts";
import type { InputGate } from "../firewall/gate.ts";
import { Verdict } from "../firewall/packet.ts";
import { refuseDatagram, sendIcmpError } from "../ip/icmp.ts";
import type { Stack } from "../stack.ts";
import { isIpv6Handle } from "../wire/address.ts";
import { Drop } from "../wire/drop.ts";
import { IcmpType, IcmpUnreachable } from "../wire/icmp.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { readUdp, udpChecksumOk, UdpRecord } from "../wire/udp.ts";

/** Datagrams on their way in: checked, judged, and given to their socket. */
export class UdpInput {
  readonly #stack: Stack;
  readonly #gate: InputGate;
  readonly #record = new UdpRecord();

  constructor(stack: Stack, gate: InputGate) {
    this.#stack = stack;
    this.#gate = gate;
  }

  /** The datagram that `ip` describes, to us or to a group. */
  input(interfaceIndex: number, ip: Ipv4Record, slab: Slab, group: boolean, nowMs: number): Drop {
    const record = this.#record;
    const stack = this.#stack;
    const reason = readUdp(slab, ip.dataStart, ip.dataEnd, record);
    if (reason !== Drop.None) return reason;
    const { addresses, udp } = stack;
    const from = addresses.sum(ip.source);
    const absent = isIpv6Handle(ip.source) && slab.view.getUint16(ip.dataStart + 6) === 0; // RFC 8200 section 8.1
    if (absent || !udpChecksumOk(slab, ip.dataStart, record.dataEnd, from, addresses.sum(ip.destination))) {
      return Drop.UdpChecksum;
    }
    const verdict = this.#gate.udp(ip, record, interfaceIndex);
    if (verdict !== Verdict.Accept) return refuseDatagram(stack, verdict, ip, slab, nowMs);
    if (group) return udp.inputGroup(ip, record, slab);
    const result = udp.input(ip, record, slab);
    if (result === Drop.UdpNoSocket) {
      sendIcmpError(stack, IcmpType.Unreachable, IcmpUnreachable.Port, ip, slab, nowMs);
    }
    return result;
  }
}
