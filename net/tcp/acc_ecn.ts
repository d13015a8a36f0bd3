import { seqLess } from "../../base/sequence.ts";
import { accEcnOptionLength, TCP_OPTIONS_LENGTH_MAX } from "../wire/tcp_options.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { Ack, type AckSample } from "./ack_sample.ts";
import { CaState, type Tcb, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/**
 * Accurate ECN (RFC 9768): the receiver tells how many marks arrived, not only that some did. Three bits of the
 * header, the ACE field, count marked packets; an option counts bytes by their mark. Where the RFC leaves a choice,
 * Linux's is taken.
 */

/** The ECN bits of an IP header (RFC 3168 section 5). */
const NOT_ECT = 0, ECT0 = 2, CE = 3;
const ALL: number = TcpFlag.AE | TcpFlag.CWR | TcpFlag.ECE;
/** The ACE field starts at bit 6 of the flags. */
const ACE_BIT = 6;
const ACE_MASK = 7;
/** What the ACE field starts with, so that a zero shows that somebody cleared it (section 3.2.1). */
const ACE_OFFSET = 5;
/** The option's counters of ECT(1) and ECT(0) start with 1, for the same reason (section 3.2.3.1). */
const INITIAL: readonly number[] = [1, 1, 0];
const COUNTER_BITS = 24;
/** Behind this many bytes without an option in sight, its counters may have wrapped (section 3.2.3.3). */
const OPTION_LATE_BYTES = 2 ** 23 - 1;
/** A counter that crosses a multiple of this is told at once. */
const OPTION_EVERY_BYTES = 2 ** 22;
/** SACK blocks that the option leaves in their place. */
const SACK_BLOCKS_KEPT = 2;
/** ACKs of more packets than this, on the average, are merged on their way: their ACE is taken as it is. */
const MERGED_ACK_PACKETS = 4;
/** Weight of one ACK in that average. */
const MERGED_WEIGHT = 1 / 64;

/** What is known of the peer's option. */
const Saw = { nothing: 0, empty: 1, counters: 2, broken: 3 } as const;

/** `TcpConfig.ecnOption`, as Linux's tcp_ecn_option. */
export const EcnOption = { never: 0, news: 1, always: 2 } as const;

/** The state of a connection that agreed on it; counters by ECN bits less one: ECT(1), ECT(0), CE. */
export class AccEcn {
  /** ECN bits of the peer's SYN or SYN-ACK, which the handshake says back. */
  synEcn = NOT_ECT;
  /** The next ACK says them, instead of the ACE count. */
  reflect = false;
  /** Our SYN-ACK has carried the option once: if it was lost, the option may be why. */
  optionTried = false;
  receivedCe = 0;
  receivedBytes: number[] = [0, 0, 0];
  deliveredBytes: number[] = [0, 0, 0];
  previousEcn = NOT_ECT;
  /** Segments that must carry the option, whatever the configuration spares. */
  demand = 0;
  /** Counters that the next option must hold at least. */
  required = 0;
  saw: number = Saw.nothing;
  /** ECN bits whose bytes grew last: without an option, what is delivered is taken to be of this kind. */
  estimate = 0;
  /** The network clears or rewrites the bits: we mark nothing as ECN-capable any more. */
  failed = false;
  /** Segments with the option do not arrive, or not whole. */
  optionFailSend = false;
  optionFailReceive = false;
  /** The last option went with the report of a duplicate, [dsackStart, dsackEnd). */
  optionWithDsack = false;
  dsackStart = 0;
  dsackEnd = 0;
  /** Packets that an ACK acknowledges, on the average; 0 before the first. */
  ackedPackets = 0;
  optionAtMs = 0;
}

const NUMBERS = ["synEcn", "receivedCe", "previousEcn", "demand", "required", "saw", "estimate"] as const;
const SWITCHES = [
  "reflect",
  "optionTried",
  "failed",
  "optionFailSend",
  "optionFailReceive",
  "optionWithDsack",
] as const;

/** As whole numbers, for an image. */
export function freezeAccEcn(acc: AccEcn, nowMs: number): number[] {
  const switches = SWITCHES.reduce((bits, name, bit) => bits | (acc[name] ? 1 << bit : 0), 0);
  return [
    switches,
    ...NUMBERS.map((name) => acc[name]),
    ...acc.receivedBytes,
    ...acc.deliveredBytes,
    Math.round(acc.ackedPackets * 64),
    Math.max(0, Math.floor(nowMs - acc.optionAtMs)),
    acc.dsackStart >>> 0,
    acc.dsackEnd >>> 0,
  ];
}

/** Puts them back. */
export function thawAccEcn(state: readonly number[], nowMs: number): AccEcn {
  const acc = new AccEcn();
  let at = 0;
  const next = (): number => state[at++] ?? 0;
  const switches = next();
  SWITCHES.forEach((name, bit) => void (acc[name] = (switches & (1 << bit)) !== 0));
  for (const name of NUMBERS) acc[name] = next();
  acc.receivedBytes = [next(), next(), next()];
  acc.deliveredBytes = [next(), next(), next()];
  acc.ackedPackets = next() / 64;
  acc.optionAtMs = nowMs - next();
  acc.dsackStart = next() | 0;
  acc.dsackEnd = next() | 0;
  return acc;
}

/** What a SYN-ACK, or the ACK of one, says of the ECN bits that the other's packet arrived with (tables 2 and 3). */
function reflection(ecn: number): number {
  return (ecn === NOT_ECT ? 2 : ecn === CE ? 6 : ecn === ECT0 ? 4 : 3) << ACE_BIT;
}

/** The reverse; `NOT_ECT` for what says nothing. */
function reflected(ace: number): number {
  return ace === 3 ? 1 : ace === 4 ? ECT0 : ace === 6 ? CE : NOT_ECT;
}

function aceOf(segment: TcpRecord): number {
  return (segment.flags >>> ACE_BIT) & ACE_MASK;
}

/** Whether a SYN asks for it. */
export function asksForAccEcn(syn: TcpRecord): boolean {
  return (syn.flags & ALL) === ALL;
}

/** Flags of our SYN. One that is sent for the third time asks for nothing: what it asks may be why it is lost. */
export function accEcnSynFlags(tcb: Tcb): number {
  return tcb.retransmits < 2 ? ALL : 0;
}

/** Flags of our SYN-ACK, with its option. */
export function accEcnAnswer(tcb: Tcb, acc: AccEcn, option: number, segment: TcpRecord): number {
  if (tcb.retransmits >= 2) return 0;
  if (!acc.optionTried && option > EcnOption.never) {
    segment.accEcnCount = 3;
    for (let at = 0; at < 3; at++) segment.accEcn[at] = INITIAL[at]!;
  }
  acc.optionTried = true;
  return reflection(acc.synEcn);
}

/** The peer's SYN comes again, with other bits perhaps. */
export function takeAccEcnSynAgain(acc: AccEcn, syn: TcpRecord): void {
  if ((syn.flags & ALL) === 0) acc.failed = true;
  acc.synEcn = syn.ecn;
}

/**
 * The SYN-ACK of a peer that we asked.
 * @returns Whether it agrees; when it does not, ECE alone agrees to RFC 3168's ECN.
 */
export function takeAccEcnAnswer(acc: AccEcn, segment: TcpRecord, fallback: boolean): boolean {
  const ace = aceOf(segment);
  if (ace === 0 || ace === 1 || ace === ACE_MASK) return false;
  acc.reflect = true;
  if (ace === 5) return true; // an old meaning of the bits: a peer that says so counts, and no more
  acc.synEcn = segment.ecn;
  if (segment.accEcnCount >= 0) {
    acc.saw = judgeOption(acc, segment);
    acc.demand = 2;
  }
  if (segment.ecn === CE && isHonest(acc, ace, fallback)) acc.receivedCe++;
  return true;
}

/** Our SYN and SYN-ACK are never ECN-capable: a peer that saw them so has a network that rewrites the bits. */
function isHonest(acc: AccEcn, ace: number, fallback: boolean): boolean {
  if (!fallback || reflected(ace) === NOT_ECT) return true;
  acc.failed = true;
  return false;
}

/** The ACK that ends a passive open (section 3.2.2.1). */
export function takeAccEcnThirdAck(tcb: Tcb, acc: AccEcn, segment: TcpRecord, fallback: boolean): void {
  const ace = aceOf(segment);
  if (ace === 0) {
    acc.failed = true;
  } else if (ace !== 1 && ace !== 5 && ace !== ACE_MASK) {
    const pure = segment.dataEnd === segment.dataStart && segment.sackCount === 0;
    if (pure && isHonest(acc, ace, fallback) && reflected(ace) === CE && tcb.deliveredCe === 0) {
      tcb.deliveredCe = 1;
    }
  }
  if (segment.accEcnCount >= 0 && acc.saw < Saw.counters) acc.saw = judgeOption(acc, segment);
  acc.previousEcn = acc.synEcn;
  acc.demand = 1;
}

/** A SYN-ACK that comes once more is answered, if at all, as the first was. */
export function reflectAgain(acc: AccEcn, segment: TcpRecord): void {
  acc.synEcn = segment.ecn;
  acc.reflect = true;
  acc.demand = Math.max(acc.demand, 1);
}

/** What the flags of an ordinary segment say. */
export function aceFlags(tcb: Tcb, acc: AccEcn): number {
  if (tcb.state === TcpState.timeWait) return 0;
  if (!acc.reflect) return ((acc.receivedCe + ACE_OFFSET) & ACE_MASK) << ACE_BIT;
  acc.reflect = false;
  return reflection(acc.synEcn);
}

/** ECN bits of the IP header: all segments but SYN, SYN-ACK and RST are capable. */
export function accEcnMark(acc: AccEcn): number {
  return acc.failed ? NOT_ECT : ECT0;
}

/** An acceptable segment arrived: its mark is counted, on ACKs as well (section 3.2.2.5). */
export function countMark(tcb: Tcb, acc: AccEcn, segment: TcpRecord): void {
  const { ecn } = segment;
  const bytes = segment.dataEnd - segment.dataStart;
  if (ecn !== NOT_ECT) {
    tcb.ecnSeen = true;
    if (ecn === CE) acc.receivedCe++;
    if (bytes > 0) {
      const before = acc.receivedBytes[ecn - 1]!;
      const after = before + bytes;
      acc.receivedBytes[ecn - 1] = after;
      // Counters go in the order ECT(1), CE, ECT(0): who wants the last needs all three.
      acc.required = Math.max(acc.required, ecn === ECT0 ? 3 : ecn === CE ? 2 : 1);
      if (Math.floor(after / OPTION_EVERY_BYTES) !== Math.floor(before / OPTION_EVERY_BYTES)) {
        acc.demand = Math.max(acc.demand, 1);
      }
    }
  }
  const edge = ecn !== acc.previousEcn;
  if (!edge && ecn !== CE) return;
  acc.previousEcn = ecn;
  if (edge && bytes > 0) tcb.ackNow = true;
  acc.demand = 2; // two, so that the second shows what the first began
}

/**
 * A duplicate arrives. Its mark counts, unless it is older than our last ACK. When it was reported with the option
 * before, that report was lost, and the option may be why.
 */
export function countDuplicate(tcb: Tcb, acc: AccEcn, segment: TcpRecord, end: number): void {
  if (!seqLess(end, tcb.lastAckSent)) countMark(tcb, acc, segment);
  const reported = acc.dsackStart === segment.sequence && acc.dsackEnd === end;
  if (acc.optionWithDsack && reported) acc.optionFailSend = true;
}

/**
 * The option of the next segment beside `blocks` SACK blocks: how many counters, and how many blocks are left.
 * @returns Counters << 3 | blocks, or -1 for no option.
 */
export function accEcnFit(tcp: Tcp, tcb: Tcb, acc: AccEcn, blocks: number): number {
  const { ecnOption } = tcp.config;
  if (ecnOption === EcnOption.never || acc.saw === Saw.nothing || acc.optionFailSend) return -1;
  if (ecnOption < EcnOption.always && acc.demand === 0) return -1;
  const others = tcb.timestamps ? 12 : 0;
  for (let left = blocks;; left--) {
    const room = TCP_OPTIONS_LENGTH_MAX - others - (left > 0 ? 4 + 8 * left : 0);
    for (let count = 3; count >= acc.required; count--) {
      if (accEcnOptionLength(count, left > 0) <= room) return (count << 3) | left;
    }
    if (acc.required === 0 || left <= SACK_BLOCKS_KEPT) return -1;
  }
}

/** Puts the option into `segment`, whose SACK blocks are there already. */
export function writeAccEcn(
  tcp: Tcp,
  tcb: Tcb,
  acc: AccEcn,
  segment: TcpRecord,
  dsack: boolean,
  nowMs: number,
): void {
  const fit = accEcnFit(tcp, tcb, acc, segment.sackCount);
  if (fit < 0) return;
  segment.sackCount = fit & 7;
  segment.accEcnCount = fit >>> 3;
  for (let at = 0; at < 3; at++) segment.accEcn[at] = acc.receivedBytes[at]! + INITIAL[at]!;
  acc.required = 0;
  acc.optionAtMs = nowMs;
  acc.optionWithDsack = dsack;
  if (dsack) {
    acc.dsackStart = tcb.dsackStart;
    acc.dsackEnd = tcb.dsackEnd;
  }
  if (acc.demand > 0) acc.demand--;
}

/**
 * What an ACK says of marks (section 3.2.2.5 and appendix A): raises `Ack.ece` in the sample when there are new ones.
 * Called when it is known what the ACK delivered.
 */
export function takeAce(tcb: Tcb, acc: AccEcn, segment: TcpRecord, sample: AckSample): void {
  const marks = newMarks(tcb, acc, segment, sample);
  if (marks === 0) return;
  tcb.deliveredCe += marks;
  sample.flags |= Ack.ece;
}

function newMarks(tcb: Tcb, acc: AccEcn, segment: TcpRecord, sample: AckSample): number {
  // An ACK that may be older than another tells nothing.
  if (!sample.tsAdvanced && (sample.flags & (Ack.advanced | Ack.dataSacked)) === 0) return 0;
  const packets = tcb.delivered - sample.priorDelivered;
  const ceBefore = acc.deliveredBytes[CE - 1]!;
  const bytesKnown = takeOption(tcb, acc, segment, sample.deliveredBytes);
  if (packets > 0) {
    acc.ackedPackets = acc.ackedPackets === 0
      ? packets
      : acc.ackedPackets + (packets - acc.ackedPackets) * MERGED_WEIGHT;
  }
  const delta = (aceOf(segment) - ACE_OFFSET - tcb.deliveredCe) & ACE_MASK;
  if (packets <= ACE_MASK) return delta;
  // The field may have wrapped: at the worst so many were marked.
  const most = packets - ((packets - delta) & ACE_MASK);
  if (!bytesKnown) return acc.ackedPackets > MERGED_ACK_PACKETS ? delta : most;
  const ceBytes = acc.deliveredBytes[CE - 1]! - ceBefore;
  if (ceBytes === 0) return delta;
  const orderly = tcb.sackPermitted || tcb.caState === CaState.open || tcb.caState === CaState.cwr;
  if (packets >= 2 * (ACE_MASK + 1) && orderly) {
    if (sample.deliveredBytes <= ceBytes) return most;
    const share = Math.ceil((ceBytes * packets) / sample.deliveredBytes);
    return Math.min(most, delta + (share & ~ACE_MASK));
  }
  if (ceBytes > delta * tcb.sndMss) return most;
  return ceBytes < (most * tcb.sndMss) >>> 1 ? delta : most;
}

/** The first option shows whether the network lets its counters through. */
function judgeOption(acc: AccEcn, segment: TcpRecord): number {
  if (segment.accEcnCount === 0) return Saw.empty;
  if (segment.accEcn[0] !== 0 && segment.accEcn[1] !== 0) return Saw.counters;
  acc.optionFailReceive = true;
  return Saw.broken;
}

/** The peer's byte counters. False when they do not tell what this ACK delivered. */
function takeOption(tcb: Tcb, acc: AccEcn, segment: TcpRecord, deliveredBytes: number): boolean {
  if (acc.optionFailReceive) return false;
  if (segment.accEcnCount < 0) {
    if (acc.saw === Saw.nothing) {
      if (tcb.bytesOut >= OPTION_LATE_BYTES) {
        acc.saw = Saw.broken;
        acc.optionFailReceive = true;
      }
      return false;
    }
    if (acc.estimate === 0) return false;
    acc.deliveredBytes[acc.estimate - 1]! += deliveredBytes;
    return true;
  }
  if (acc.saw < Saw.counters) acc.saw = judgeOption(acc, segment);
  const { estimate } = acc;
  let known = estimate !== 0, ambiguous = false, changed = false;
  for (let at = 0; at < 3; at++) {
    const counter = segment.accEcn[at]!;
    if (counter < 0) continue; // not in this option
    const difference = counter - INITIAL[at]! - acc.deliveredBytes[at]!;
    const delta = (difference << (32 - COUNTER_BITS)) >> (32 - COUNTER_BITS);
    if (delta === 0) continue;
    acc.deliveredBytes[at]! += delta;
    if (delta < 0) {
      known = false;
      ambiguous = true;
    }
    if (at + 1 === estimate) continue;
    if (changed) {
      known = false;
      ambiguous = true;
    } else {
      acc.estimate = at + 1;
      changed = true;
    }
  }
  if (ambiguous) acc.estimate = 0;
  return known;
}
