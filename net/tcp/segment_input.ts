import type { Slab } from "../../base/slab.ts";
import { RecordState } from "../connections/connection_map.ts";
import type { InputGate } from "../firewall/gate.ts";
import { Verdict } from "../firewall/packet.ts";
import { fillChecksum } from "../ip/fill_checksum.ts";
import type { Stack } from "../stack.ts";
import { Drop } from "../wire/drop.ts";
import type { Ipv4Record } from "../wire/ipv4.ts";
import { readTcp, tcpChecksumOk, TcpFlag, TcpRecord } from "../wire/tcp.ts";
import { tcpInput } from "./input.ts";
import { listenInput } from "./listen.ts";
import { sendStrayReset } from "./output.ts";
import type { Tcb } from "./tcb.ts";

/** Segments on their way in: checked, judged, and given to their connection, awake or asleep, or to a listener. */
export class SegmentInput {
  readonly #stack: Stack;
  readonly #gate: InputGate;
  readonly #record = new TcpRecord();

  constructor(stack: Stack, gate: InputGate) {
    this.#stack = stack;
    this.#gate = gate;
  }

  /**
   * The segment that `ip` describes, to one of our addresses.
   * @param segmentBytes See `LinkSink.receive`: above 0 its checksum is not filled in, and need not be.
   */
  input(interfaceIndex: number, ip: Ipv4Record, slab: Slab, segmentBytes: number, nowMs: number): Drop {
    const stack = this.#stack;
    const segment = this.#record;
    const reason = readTcp(slab, ip.dataStart, ip.dataEnd, segment);
    if (reason !== Drop.None) return reason;
    segment.ecn = ip.typeOfService & 3;
    segment.segmentBytes = segmentBytes;
    if (segmentBytes === 0) {
      const { addresses } = stack;
      const from = addresses.sum(ip.source);
      if (!tcpChecksumOk(slab, ip.dataStart, ip.dataEnd, from, addresses.sum(ip.destination))) {
        return Drop.TcpChecksum;
      }
    }
    const map = stack.connections;
    const record = map.find(ip.destination, ip.source, segment.destinationPort, segment.sourcePort);
    let predecessor: Tcb | undefined;
    if (record >= 0) {
      const tcb = map.state(record) === RecordState.awake ? stack.awakeTcb(record) : undefined;
      if (this.#gate.tcp(ip, segment, interfaceIndex, true, tcb) !== Verdict.Accept) return Drop.Firewall;
      if (segmentBytes > 0 && (tcb === undefined || tcb.saving)) fillChecksum(stack.addresses, ip, slab);
      if (tcb === undefined) return stack.sleepers.input(record, interfaceIndex, segment, ip, slab, nowMs);
      if (tcb.saving) {
        stack.sleepers.wake(record, nowMs);
        return stack.sleepers.hold(record, interfaceIndex, ip, slab);
      }
      const result = tcpInput(stack.tcp, tcb, segment, slab, nowMs);
      if (result !== Drop.TcpClosed || (segment.flags & TcpFlag.SYN) === 0) return result;
      predecessor = tcb; // a SYN that ends TIME-WAIT is a new connection's (RFC 6191)
    }
    // A SYN begins something; anything else is about something that somebody has.
    if (record < 0 && (segment.flags & TcpFlag.SYN) === 0 && stack.sharesAddresses) {
      if (segmentBytes > 0) fillChecksum(stack.addresses, ip, slab);
      if (stack.passOn(interfaceIndex, ip, slab)) return Drop.PassedOn;
    }
    if (record < 0 || predecessor !== undefined) { // whoever opens anew is new to the rules
      const verdict = this.#gate.tcp(ip, segment, interfaceIndex, false, undefined);
      if (verdict === Verdict.Reject) sendStrayReset(stack.tcp, ip.destination, ip.source, segment, nowMs);
      if (verdict !== Verdict.Accept) return verdict === Verdict.Reject ? Drop.FirewallReject : Drop.Firewall;
    }
    const listener = stack.tcp.listeners.find(ip.destination, segment.destinationPort);
    // The ACK of a SYN cookie makes a connection as well.
    if (!stack.accepting && (listener !== undefined || (segment.flags & TcpFlag.SYN) !== 0)) {
      return Drop.TcpBacklogFull;
    }
    if (listener !== undefined) {
      return listenInput(stack.tcp, listener, ip, segment, slab, nowMs, predecessor);
    }
    sendStrayReset(stack.tcp, ip.destination, ip.source, segment, nowMs);
    return Drop.TcpNoListener;
  }
}
