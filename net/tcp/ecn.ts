import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import {
  AccEcn,
  accEcnAnswer,
  accEcnSynFlags,
  aceFlags,
  asksForAccEcn,
  freezeAccEcn,
  takeAccEcnAnswer,
  thawAccEcn,
} from "./acc_ecn.ts";
import type { TcpConfig } from "./config.ts";
import { enterQuickAcks } from "./delayed_ack.ts";
import type { RowReader, RowWriter } from "./frozen_row.ts";
import { type Tcb, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/** The ECN bits of an IP header (RFC 3168 section 5). */
export const Ecn = { notEct: 0, ect1: 1, ect0: 2, ce: 3 } as const;

/** `TcpConfig.ecn`, as Linux's tcp_ecn. */
export const EcnMode = {
  off: 0,
  ask: 1,
  accept: 2,
  askAccurate: 3,
  acceptAccurate: 4,
  acceptOnly: 5,
} as const;

const ACE = TcpFlag.AE | TcpFlag.CWR | TcpFlag.ECE;
const BOTH = TcpFlag.ECE | TcpFlag.CWR;
/** ACKs that leave at once after a mark: the sender must hear of it (Linux's value). */
const QUICK_ACKS = 2;

/** Flags of our SYN or SYN-ACK beside SYN and ACK (RFC 3168 section 6.1.1, RFC 9768 section 3.1.1), and its option. */
export function ecnSynFlags(tcp: Tcp, tcb: Tcb, segment: TcpRecord): number {
  const { ecn, ecnOption } = tcp.config;
  if (tcb.state === TcpState.synReceived) {
    if (tcb.accEcn !== undefined) return accEcnAnswer(tcb, tcb.accEcn, ecnOption, segment);
    return tcb.ecnOk ? TcpFlag.ECE : 0;
  }
  if (ecn === EcnMode.askAccurate) {
    tcb.accEcn ??= new AccEcn();
    return accEcnSynFlags(tcb);
  }
  tcb.ecnOk = ecn === EcnMode.ask || ecn === EcnMode.acceptAccurate;
  // A middlebox may drop what it does not know: a SYN that is sent again asks for nothing (section 6.1.1.1).
  return tcb.ecnOk && tcb.sndMax === tcb.iss ? BOTH : 0;
}

/** A SYN came: does it ask for ECN, and may it? A marked SYN shows a network that rewrites the field. */
export function takeEcnSyn(tcp: Tcp, tcb: Tcb, syn: TcpRecord): void {
  const { ecn } = tcp.config;
  if (ecn >= EcnMode.askAccurate && asksForAccEcn(syn)) {
    tcb.accEcn = new AccEcn();
    tcb.accEcn.synEcn = syn.ecn;
    return;
  }
  tcb.ecnOk = ecn !== EcnMode.off && (syn.flags & BOTH) === BOTH && syn.ecn === Ecn.notEct;
}

/** The answer to our SYN: ECE alone agrees. Both flags are a SYN's copied by a broken peer (section 6.1.1). */
export function takeEcnAnswer(tcp: Tcp, tcb: Tcb, segment: TcpRecord): void {
  const crossing = (segment.flags & TcpFlag.ACK) === 0; // a SYN that asks, too
  if (tcb.accEcn !== undefined) {
    if (!crossing && takeAccEcnAnswer(tcb.accEcn, segment, tcp.config.ecnFallback)) return;
    tcb.accEcn = undefined;
    tcb.ecnOk = !crossing && (segment.flags & ACE) === TcpFlag.ECE;
    return;
  }
  tcb.ecnOk &&= (segment.flags & BOTH) === (crossing ? BOTH : TcpFlag.ECE);
}

/** What every segment of ours says of marks that arrived: ECE until the sender reacts (section 6.1.3), or their count. */
export function ecnEchoFlag(tcb: Tcb): number {
  if (tcb.accEcn !== undefined) return aceFlags(tcb, tcb.accEcn);
  return tcb.ecnEcho ? TcpFlag.ECE : 0;
}

/**
 * Marks new data of ours as ECN-capable, and says once that the window has been reduced. Neither
 * retransmissions nor ACKs without data are marked (sections 6.1.4 and 6.1.5).
 * @returns The ECN bits for the IP header.
 */
export function markNewData(tcb: Tcb, segment: TcpRecord): number {
  if (!tcb.ecnOk) return Ecn.notEct;
  if (tcb.ecnReduced) {
    tcb.ecnReduced = false;
    segment.flags |= TcpFlag.CWR;
  }
  return Ecn.ect0;
}

/** Whether the peer reports a mark: `segment` is no SYN, and its data does not matter. */
export function isEcnEcho(tcb: Tcb, segment: TcpRecord): boolean {
  return tcb.ecnOk && (segment.flags & TcpFlag.ECE) !== 0;
}

/** The peer has reduced its window, so it has heard our echo. On an ACK without data it counts, too, as in Linux. */
export function takeCwr(tcb: Tcb, segment: TcpRecord): void {
  if ((segment.flags & TcpFlag.CWR) === 0 || !tcb.ecnOk) return;
  tcb.ecnEcho = false;
  // Its window may be one segment now: it must not wait for our timer.
  if (segment.dataEnd > segment.dataStart) tcb.ackNow = true;
}

/** Data of the peer is taken in, or kept for later; its CWR counted before its mark (section 6.1.3). */
export function takeEcnData(tcb: Tcb, segment: TcpRecord, config: Readonly<TcpConfig>): void {
  if (!tcb.ecnOk) return;
  if (segment.ecn === Ecn.notEct) {
    // It marked before: this is a retransmission, and whoever retransmits needs our ACKs.
    if (tcb.ecnSeen) enterQuickAcks(tcb, config, QUICK_ACKS);
    return;
  }
  tcb.ecnSeen = true;
  if (segment.ecn !== Ecn.ce || tcb.ecnEcho) return;
  tcb.ecnEcho = true;
  enterQuickAcks(tcb, config, QUICK_ACKS);
}

/** As whole numbers, for an image: nothing for a connection without ECN. */
export function freezeEcn(tcb: Tcb, nowMs: number, into: RowWriter): void {
  into.put((tcb.ecnOk ? 1 : 0) | (tcb.ecnSeen ? 2 : 0) | (tcb.ecnEcho ? 4 : 0) | (tcb.ecnReduced ? 8 : 0));
  into.put(tcb.deliveredCe);
  if (tcb.accEcn === undefined) return into.end();
  for (const each of freezeAccEcn(tcb.accEcn, nowMs)) into.put(each);
}

/** Puts them back. */
export function thawEcn(row: RowReader, tcb: Tcb, nowMs: number): void {
  const bits = row.next();
  tcb.ecnOk = (bits & 1) !== 0;
  tcb.ecnSeen = (bits & 2) !== 0;
  tcb.ecnEcho = (bits & 4) !== 0;
  tcb.ecnReduced = (bits & 8) !== 0;
  tcb.deliveredCe = row.next();
  tcb.accEcn = row.ended ? undefined : thawAccEcn(row.rest(), nowMs);
}
