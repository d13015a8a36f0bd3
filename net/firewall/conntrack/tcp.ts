import { seqLess } from "../../../base/sequence.ts";
import type { Slab } from "../../../base/slab.ts";
import { TcpFlag } from "../../wire/tcp.ts";
import { type FlowTable, Word } from "./flow_table.ts";
import { TcpHeader, TcpIndex } from "./tcp_header.ts";
import { CtDirection, CtStatus } from "./state.ts";
import { type ConntrackTimeouts, TcpState, tcpTimeouts } from "./timeouts.ts";

/** What is to be done with a segment. */
export const Judged = {
  /** It belongs to its flow. */
  accepted: 0,
  /** It belongs to no flow. */
  invalid: 1,
  /** Its flow is over, and was removed: it may begin another. */
  again: 2,
  /** It ended its flow, which has to be removed when the packet has gone. */
  ended: 3,
  /** It may pass as its flow's, which does not count it. */
  passed: 4,
} as const;
export type Judged = (typeof Judged)[keyof typeof Judged];

/** Words of one direction of a flow, behind `Word.tcp`: what it has sent, may send, offers, has acknowledged. */
const SEEN_WORDS = 4;
const Seen = { end: 0, maxEnd: 1, maxWindow: 2, maxAck: 3 } as const;
/** Words of both: the last segment's numbers, then what is packed below. */
const Last = { seq: Word.tcp + 8, ack: Word.tcp + 9, end: Word.tcp + 10 } as const;
/** Window of the last segment, 16 bits; scale each way and of a SYN let through, 4 each; kind and way of the last segment. */
const PACKED = Word.tcp + 11;
const SCALE_SHIFT = [16, 20] as const;
const LAST_SCALE_SHIFT = 24;
const LAST_INDEX_SHIFT = 28;
const LAST_WAY_BIT = 1 << 31;
/** Flags of each way and of a SYN let through, 8 each; the state; how often the last segment was sent again. */
const FLAGS = Word.tcp + 12;
const LAST_FLAGS_SHIFT = 16;
const STATE_SHIFT = 24;
const AGAIN_SHIFT = 28;
/** `nf_conntrack_tcp_max_retrans`. */
const TCP_RETRANSMISSIONS_MAX = 3;

/** `IP_CT_TCP_FLAG_*` of linux/netfilter/nf_conntrack_tcp.h. */
const Flag = {
  windowScale: 0x01,
  sackPermitted: 0x02,
  /** This side closed first. */
  closeInit: 0x04,
  beLiberal: 0x08,
  unacknowledged: 0x10,
  maxAckSet: 0x20,
  challengeAck: 0x40,
  simultaneousOpen: 0x80,
} as const;

const IGNORE = 11, INVALID = 10;
const { none: NO, synSent: SS, synRecv: SR, established: ES, finWait: FW, closeWait: CW } = TcpState;
const { lastAck: LA, timeWait: TW, close: CL, synSent2: S2 } = TcpState;
const IG = IGNORE, IV = INVALID;

/**
 * The state after a segment, by its way and kind (SYN, SYN-ACK, FIN, ACK, RST, none of them), and the state before, in the
 * order of `TcpState`: what Linux's Documentation calls its state table.
 */
const NEXT: readonly (readonly (readonly number[])[])[] = [[
  [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2],
  [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR],
  [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
  [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV],
  [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
  [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
], [
  [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2],
  [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR],
  [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
  [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG],
  [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
  [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
]];

/** An ACK may be so far behind what was sent. */
const ACK_WINDOW_MIN = 66_000;
/** Where a flow is nearly over, and shall not hold up who uses its ports again. */
const CLOSING: number = (1 << FW) | (1 << LA) | (1 << TW) | (1 << CL) | (1 << CW);
/** Seconds below which a flow that is out of step is left to itself. */
const OUT_OF_STEP_SECONDS = 120;

const InWindow = { yes: 0, ignore: 1, no: 2 } as const;

/**
 * Follows TCP as the kernel's nf_conntrack_proto_tcp.c does (Linux 6.x, its sysctls at their defaults: loose, not liberal):
 * states, windows after van Rooij's "Real Stateful TCP Packet Filtering", segments that are let through because it may be
 * we who are out of step.
 */
export class TcpTracker {
  readonly header: TcpHeader = new TcpHeader();
  readonly #table: FlowTable;
  readonly #timeouts: Float64Array;
  readonly #retransSeconds: number;
  readonly #unackedSeconds: number;
  // The flow at hand.
  #words: Int32Array = new Int32Array(0);
  #at = 0;
  #way: CtDirection = CtDirection.original;

  constructor(table: FlowTable, timeouts: ConntrackTimeouts) {
    this.#table = table;
    this.#timeouts = tcpTimeouts(timeouts);
    this.#retransSeconds = timeouts.tcpMaxRetrans;
    this.#unackedSeconds = timeouts.tcpUnacknowledged;
  }

  /** The state of a TCP flow. */
  state(flow: number): TcpState {
    return ((this.#table.get(flow, FLAGS) >>> STATE_SHIFT) & 15) as TcpState;
  }

  /** Whether it is nearly over: nobody counts it any more. */
  isClosing(flow: number): boolean {
    const state = this.state(flow);
    return state === TW || state === CL;
  }

  /** From now on what the client says is not held against the server, which is not who answers it. */
  beLiberal(flow: number): void {
    this.#take(flow, CtDirection.original);
    this.#addFlags(CtDirection.original, Flag.beLiberal);
  }

  /** Begins a flow with the segment in `header`. @returns False when it can begin none. */
  begin(flow: number): boolean {
    this.#take(flow, CtDirection.original);
    const { header } = this;
    const state = NEXT[0]![header.index]![NO]!;
    if (state >= IV) return false;
    this.#put(CtDirection.original, Seen.end, header.end);
    this.#put(CtDirection.original, Seen.maxWindow, Math.max(header.window, 1));
    if (state === SS) {
      this.#put(CtDirection.original, Seen.maxEnd, header.end);
      this.#readOptions(CtDirection.original);
    } else { // in the middle of a connection: its scale is not known
      this.#put(CtDirection.original, Seen.maxEnd, (header.end + Math.max(header.window, 1)) | 0);
      const flags = Flag.sackPermitted | Flag.beLiberal;
      this.#addFlags(CtDirection.original, flags);
      this.#addFlags(CtDirection.reply, flags);
    }
    this.#setLast(TcpIndex.none, CtDirection.original);
    return true;
  }

  /** What the segment in `header` is to its flow, which moves on. */
  input(flow: number, way: CtDirection, slab: Slab, nowMs: number): Judged {
    this.#take(flow, way);
    const { header } = this;
    const { index } = header;
    const other = way === CtDirection.original ? CtDirection.reply : CtDirection.original;
    const status = this.#table.status(flow);
    let before = this.#state();
    let after = NEXT[way]![index]![before]!;
    let check = true;
    if (after === SS && before >= TW) {
      const closed = ((this.#flags(way) | this.#flags(other)) & Flag.closeInit) !== 0;
      if (closed || (this.#lastWay() === way && this.#lastIndex() === TcpIndex.rst)) return Judged.again;
      after = IGNORE; // and its ends are not in step with us
    }
    switch (after) {
      case IGNORE:
        if (
          index === TcpIndex.synAck && this.#lastIndex() === TcpIndex.syn && this.#lastWay() !== way &&
          header.ack === this.#word(Last.end)
        ) { // it answers a SYN that was ignored: its two ends are in step, and now we are
          before = SS;
          after = SR;
          this.#resync(way);
          break;
        }
        this.#ignored(before);
        return Judged.passed;
      case INVALID:
        return Judged.invalid;
      case TW:
        if (
          before === LA && index === TcpIndex.ack && this.#lastWay() !== way &&
          this.#lastIndex() === TcpIndex.syn &&
          (this.#lastFlags() & Flag.challengeAck) !== 0
        ) { // RFC 5961: it challenges a SYN, and acknowledges no FIN
          this.#setLastFlags(this.#lastFlags() & ~Flag.challengeAck);
          return Judged.passed;
        }
        break;
      case S2:
        this.#setLastFlags(this.#lastFlags() | Flag.simultaneousOpen);
        break;
      case SR:
        if (
          way === CtDirection.reply && index === TcpIndex.ack &&
          (this.#lastFlags() & Flag.simultaneousOpen) !== 0
        ) after = ES;
        break;
      case CL: {
        if (index !== TcpIndex.rst) break;
        if ((CLOSING >>> before & 1) !== 0) { // its ports may be in use again, and what is noted of no use
          check = false;
          break;
        }
        const established = before === ES && (status & CtStatus.assured) !== 0;
        if ((this.#flags(other) & Flag.maxAckSet) !== 0 && this.#lastIndex() !== TcpIndex.syn) {
          const maxAck = this.#get(other, Seen.maxAck);
          if (header.seq === 0 && !established) break; // answers a SYN that was let through
          if (seqLess(header.seq, maxAck)) return Judged.invalid;
          if (!established || header.seq === maxAck) break;
          const follows = this.#lastIndex() === TcpIndex.ack && this.#lastWay() === way &&
            header.seq === this.#word(Last.end);
          if (follows) break;
          after = before; // RFC 5961: it will be challenged, and the connection may live
        }
        const doubtful = (status & CtStatus.seenReply) !== 0 && this.#lastIndex() === TcpIndex.syn ||
          (status & CtStatus.assured) === 0 && this.#lastIndex() === TcpIndex.ack;
        if (doubtful && header.ack === this.#word(Last.end)) check = false;
        else if (
          before === SS && this.#lastIndex() === TcpIndex.ack && this.#lastWay() === CtDirection.reply &&
          header.seq === this.#word(Last.ack)
        ) check = false;
        break;
      }
    }
    if (check) {
      const fits = this.#inWindow(before, slab);
      if (fits === InWindow.ignore) return Judged.passed;
      if (fits === InWindow.no) {
        this.#outOfStep(flow, status, nowMs);
        return Judged.invalid;
      }
    }
    this.#setLast(index, way);
    this.#setState(after as TcpState);
    if (before !== after && after === FW) this.#addFlags(way, Flag.closeInit);
    return this.#refresh(flow, status, before, after, nowMs);
  }

  #refresh(flow: number, status: number, before: number, after: number, nowMs: number): Judged {
    const { index } = this.header;
    const flags = this.#words[this.#at + FLAGS]!;
    const ofState = this.#timeouts[after]!;
    let seconds = ofState;
    const unacked = ((flags | (flags >>> 8)) & Flag.unacknowledged) !== 0;
    if (((flags >>> AGAIN_SHIFT) & 3) >= TCP_RETRANSMISSIONS_MAX && ofState > this.#retransSeconds) {
      seconds = this.#retransSeconds;
    } else if (index === TcpIndex.rst) seconds = this.#timeouts[CL]!;
    else if (unacked && ofState > this.#unackedSeconds) seconds = this.#unackedSeconds;
    else if ((this.#words[this.#at + PACKED]! & 0xffff) === 0 && ofState > this.#retransSeconds) {
      seconds = this.#retransSeconds;
    }
    if ((status & CtStatus.seenReply) === 0) {
      if (index === TcpIndex.rst) return Judged.ended; // nothing but a refusal has come back
      // Sent again and again it would else live for ever.
      if (index === TcpIndex.syn && before === SS) return Judged.passed;
      if (after === ES) seconds = Math.min(seconds, this.#unackedSeconds); // picked up, and nobody has answered
    } else if ((status & CtStatus.assured) === 0 && (before === SR || before === ES) && after === ES) {
      this.#table.addStatus(flow, CtStatus.assured);
    }
    this.#table.rememberFor(flow, seconds, nowMs);
    return Judged.accepted;
  }

  /** What came may be right, and our idea of it wrong: it passes, and is noted. */
  #ignored(before: number): void {
    const { header } = this;
    this.#annotate();
    if (header.index === TcpIndex.syn && this.#way === CtDirection.original) this.#annotateSyn(before);
    if (before === SS && header.index === TcpIndex.ack && this.#way === CtDirection.reply) {
      this.#setWord(Last.ack, header.ack);
    }
  }

  #annotate(): void {
    const { header } = this;
    this.#setLast(header.index, this.#way);
    this.#setWord(Last.seq, header.seq);
    this.#setWord(Last.end, header.end);
    this.#setLastWindow(header.window);
  }

  #annotateSyn(before: number): void {
    const { header } = this;
    header.readOptions();
    let flags = 0;
    if (header.scale >= 0) flags |= Flag.windowScale;
    if (header.sackPermitted) flags |= Flag.sackPermitted;
    if (before === LA) flags |= Flag.challengeAck;
    this.#setLastFlags(flags);
    this.#setScaleAt(LAST_SCALE_SHIFT, Math.max(header.scale, 0));
  }

  /** The SYN that was ignored last began a connection, and the SYN-ACK at hand goes `way`. */
  #resync(way: CtDirection): void {
    const from = this.#lastWay();
    const end = this.#word(Last.end);
    this.#put(from, Seen.end, end);
    this.#put(from, Seen.maxEnd, end);
    this.#put(from, Seen.maxWindow, Math.max(this.#words[this.#at + PACKED]! & 0xffff, 1));
    this.#setScaleAt(SCALE_SHIFT[from], this.#scaleAt(LAST_SCALE_SHIFT));
    this.#setLastFlags(this.#lastFlags() & ~Flag.challengeAck);
    this.#setFlags(from, this.#lastFlags());
    for (let word = 0; word < SEEN_WORDS; word++) this.#put(way, word, 0);
    this.#setScaleAt(SCALE_SHIFT[way], 0);
    this.#setFlags(way, this.#flags(way) & Flag.beLiberal);
  }

  /** A FIN or a reset that does not fit, each way: this flow is not what we think, and shall not stay for days. */
  #outOfStep(flow: number, status: number, nowMs: number): void {
    const { index } = this.header;
    if ((status & CtStatus.assured) === 0 || (index !== TcpIndex.rst && index !== TcpIndex.fin)) return;
    const last = this.#lastIndex();
    if (this.#lastWay() !== this.#way && (last === TcpIndex.fin || last === TcpIndex.rst)) {
      const seconds = this.#table.remainingMs(flow, nowMs) / 1000;
      if (seconds < OUT_OF_STEP_SECONDS || seconds <= this.#unackedSeconds) return;
      this.#table.rememberFor(flow, this.#unackedSeconds, nowMs);
    } else this.#setLast(index, this.#way);
  }

  #initSender(sender: CtDirection, receiver: CtDirection): void {
    const { header } = this;
    this.#put(sender, Seen.end, header.end);
    this.#put(sender, Seen.maxEnd, header.end);
    this.#put(sender, Seen.maxWindow, Math.max(header.window, 1));
    this.#readOptions(sender);
    // RFC 7323 section 1.3: both sides must send the option.
    if (
      sender === CtDirection.reply && (this.#flags(sender) & this.#flags(receiver) & Flag.windowScale) === 0
    ) {
      this.#setScaleAt(SCALE_SHIFT[sender], 0);
      this.#setScaleAt(SCALE_SHIFT[receiver], 0);
    }
  }

  #readOptions(way: CtDirection): void {
    const { header } = this;
    if (!header.hasOptions) return;
    header.readOptions();
    this.#setScaleAt(SCALE_SHIFT[way], Math.max(header.scale, 0));
    const scaled = header.scale >= 0 ? Flag.windowScale : 0;
    const sack = header.sackPermitted ? Flag.sackPermitted : 0;
    this.#setFlags(way, (this.#flags(way) & Flag.beLiberal) | scaled | sack);
  }

  /**
   * Whether a segment fits what both sides have said:
   * I. seq <= sender's maxEnd; II. end >= sender's end - receiver's maxWindow; III. sack <= receiver's end;
   * IV. sack >= receiver's end - the ACK window.
   */
  #inWindow(before: number, slab: Slab): number {
    const { header } = this;
    const sender = this.#way;
    const receiver = sender === CtDirection.original ? CtDirection.reply : CtDirection.original;
    const isSyn = (header.flags & TcpFlag.SYN) !== 0;
    const isAck = (header.flags & TcpFlag.ACK) !== 0;
    const isReset = (header.flags & TcpFlag.RST) !== 0;
    let { seq, ack, end, window } = header;
    let sack = ack;
    if ((this.#flags(receiver) & Flag.sackPermitted) !== 0) sack = header.highestSack(slab);
    if (this.#get(sender, Seen.maxWindow) === 0) {
      if (isSyn) {
        this.#initSender(sender, receiver);
        if (!isAck) return InWindow.yes; // simultaneous open
      } else { // we came in the middle
        const scaled = Math.max(window * 2 ** this.#scaleAt(SCALE_SHIFT[sender]), 1);
        this.#put(sender, Seen.end, end);
        this.#put(sender, Seen.maxWindow, scaled);
        this.#put(sender, Seen.maxEnd, (end + scaled) | 0);
        if (this.#get(receiver, Seen.maxWindow) === 0) {
          this.#put(receiver, Seen.end, sack);
          this.#put(receiver, Seen.maxEnd, sack);
        } else if (sack === ((this.#get(receiver, Seen.end) + 1) | 0)) { // answers a keep-alive probe
          this.#put(receiver, Seen.end, sack);
        }
      }
    } else if (isSyn && (before === SS || before === SR)) {
      const known = this.#get(sender, Seen.end);
      if (seqLess(known, end)) {
        this.#initSender(sender, receiver); // begins anew, with later numbers
        if (sender === CtDirection.reply && !isAck) return InWindow.yes;
      } else if (seqLess(end, known) && sender === CtDirection.original && !isAck) { // with earlier ones: it passes
        this.#annotate();
        this.#annotateSyn(before);
        return (this.#flags(sender) & Flag.beLiberal) !== 0 ? InWindow.yes : InWindow.ignore;
      }
    }
    const receiverEnd = this.#get(receiver, Seen.end);
    if (!isAck || (isReset && ack === 0)) ack = sack = receiverEnd; // as if it had one, and a good one
    if (isReset && seq === 0 && before === SS) seq = end = this.#get(sender, Seen.end); // refuses a SYN
    const senderEnd = this.#get(sender, Seen.end);
    const maxEnd = this.#get(sender, Seen.maxEnd);
    const senderWindow = this.#get(sender, Seen.maxWindow) >>> 0;
    const receiverWindow = this.#get(receiver, Seen.maxWindow) >>> 0;
    const liberal = (this.#flags(sender) & Flag.beLiberal) !== 0;
    const inReceiveWindow = !seqLess(end, (senderEnd - receiverWindow) | 0);
    const ackHigh = seqLess(receiverEnd, sack);
    const ackLow = seqLess(sack, (receiverEnd - Math.max(senderWindow, ACK_WINDOW_MIN)) | 0);
    if (seqLess(maxEnd, seq)) {
      const overshot = (end - maxEnd + 1) >>> 0;
      if (
        receiverWindow > 0 && inReceiveWindow && !ackLow && overshot <= receiverWindow && !ackHigh
      ) { // more than it was allowed to; when the peer takes it, later numbers follow from it
        this.#put(sender, Seen.end, end);
        this.#addFlags(sender, Flag.unacknowledged);
        return liberal ? InWindow.yes : InWindow.ignore;
      }
      return liberal ? InWindow.yes : InWindow.no;
    }
    if (ackHigh) return liberal ? InWindow.yes : InWindow.no;
    if (receiverWindow > 0 && !inReceiveWindow) return liberal ? InWindow.yes : InWindow.ignore;
    if (ackLow) return liberal ? InWindow.yes : InWindow.ignore;

    if (!isSyn) window *= 2 ** this.#scaleAt(SCALE_SHIFT[sender]);
    const offered = (window + ((sack - ack) | 0)) >>> 0;
    if (senderWindow < offered) this.#put(sender, Seen.maxWindow, offered | 0);
    if (seqLess(senderEnd, end)) {
      this.#put(sender, Seen.end, end);
      this.#addFlags(sender, Flag.unacknowledged);
    }
    if (isAck) {
      const set = (this.#flags(sender) & Flag.maxAckSet) !== 0;
      if (!set || seqLess(this.#get(sender, Seen.maxAck), ack)) this.#put(sender, Seen.maxAck, ack);
      this.#addFlags(sender, Flag.maxAckSet);
    }
    if (receiverWindow !== 0 && seqLess(maxEnd, end)) {
      this.#put(receiver, Seen.maxWindow, (receiverWindow + ((end - maxEnd) | 0)) | 0);
    }
    const right = (sack + window) | 0;
    if (!seqLess(right, this.#get(receiver, Seen.maxEnd))) {
      this.#put(receiver, Seen.maxEnd, window === 0 ? (right + 1) | 0 : right);
    }
    if (ack === receiverEnd) this.#setFlags(receiver, this.#flags(receiver) & ~Flag.unacknowledged);
    if (header.index === TcpIndex.ack) this.#countAgain(seq, ack, end, header.window);
    return InWindow.yes;
  }

  #countAgain(seq: number, ack: number, end: number, window: number): void {
    const same = this.#lastWay() === this.#way && this.#word(Last.seq) === seq &&
      this.#word(Last.ack) === ack &&
      this.#word(Last.end) === end && (this.#words[this.#at + PACKED]! & 0xffff) === window;
    let again = 0;
    if (same) again = Math.min(((this.#words[this.#at + FLAGS]! >>> AGAIN_SHIFT) & 3) + 1, 3);
    else {
      this.#setLast(this.#lastIndex(), this.#way);
      this.#setWord(Last.seq, seq);
      this.#setWord(Last.ack, ack);
      this.#setWord(Last.end, end);
      this.#setLastWindow(window);
    }
    this.#setBits(FLAGS, AGAIN_SHIFT, 3, again);
  }

  #take(flow: number, way: CtDirection): void {
    this.#words = this.#table.chunk(flow);
    this.#at = this.#table.offset(flow);
    this.#way = way;
  }

  #word(word: number): number {
    return this.#words[this.#at + word]!;
  }
  #setWord(word: number, value: number): void {
    this.#words[this.#at + word] = value;
  }
  #get(way: CtDirection, field: number): number {
    return this.#words[this.#at + Word.tcp + SEEN_WORDS * way + field]!;
  }
  #put(way: CtDirection, field: number, value: number): void {
    this.#words[this.#at + Word.tcp + SEEN_WORDS * way + field] = value;
  }
  #setBits(word: number, shift: number, mask: number, value: number): void {
    const at = this.#at + word;
    this.#words[at] = (this.#words[at]! & ~(mask << shift)) | ((value & mask) << shift);
  }
  #flags(way: CtDirection): number {
    return (this.#words[this.#at + FLAGS]! >>> (8 * way)) & 0xff;
  }
  #setFlags(way: CtDirection, flags: number): void {
    this.#setBits(FLAGS, 8 * way, 0xff, flags);
  }
  #addFlags(way: CtDirection, flags: number): void {
    this.#words[this.#at + FLAGS]! |= flags << (8 * way);
  }
  #lastFlags(): number {
    return (this.#words[this.#at + FLAGS]! >>> LAST_FLAGS_SHIFT) & 0xff;
  }
  #setLastFlags(flags: number): void {
    this.#setBits(FLAGS, LAST_FLAGS_SHIFT, 0xff, flags);
  }
  #state(): TcpState {
    return ((this.#words[this.#at + FLAGS]! >>> STATE_SHIFT) & 15) as TcpState;
  }
  #setState(state: TcpState): void {
    this.#setBits(FLAGS, STATE_SHIFT, 15, state);
  }
  #scaleAt(shift: number): number {
    return (this.#words[this.#at + PACKED]! >>> shift) & 15;
  }
  #setScaleAt(shift: number, scale: number): void {
    this.#setBits(PACKED, shift, 15, scale);
  }
  #setLastWindow(window: number): void {
    this.#setBits(PACKED, 0, 0xffff, window);
  }
  #lastIndex(): TcpIndex {
    return ((this.#words[this.#at + PACKED]! >>> LAST_INDEX_SHIFT) & 7) as TcpIndex;
  }
  #lastWay(): CtDirection {
    return (this.#words[this.#at + PACKED]! & LAST_WAY_BIT) === 0 ? CtDirection.original : CtDirection.reply;
  }
  #setLast(index: TcpIndex, way: CtDirection): void {
    const at = this.#at + PACKED;
    const others = this.#words[at]! & 0x0fff_ffff;
    this.#words[at] = others | (index << LAST_INDEX_SHIFT) | (way === CtDirection.reply ? LAST_WAY_BIT : 0);
  }
}
