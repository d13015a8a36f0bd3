import { seqLessEqual } from "../../base/sequence.ts";
import { sendEnd, type Tcb, TcpState } from "../../net/tcp/tcb.ts";

/**
 * What Linux tells a program about its writes: that the bytes of one are free again (MSG_ZEROCOPY), and when they were
 * sent and acknowledged (SO_TIMESTAMPING). It is read with MSG_ERRQUEUE. Only the system call is Linux's: sending and
 * acknowledging are the stack's.
 */

/** Bits of SO_TIMESTAMPING. */
export const Stamping = {
  software: 1 << 4,
  sent: 1 << 1,
  id: 1 << 7,
  queued: 1 << 8,
  acked: 1 << 9,
} as const;
/** What is not known here: hardware, and how Linux names packets to a program that cannot read them whole. */
const STAMPING_KNOWN = Stamping.software | Stamping.sent | Stamping.id | Stamping.queued | Stamping.acked;

/** Numbers of `ee_info` for a timestamp. */
const StampKind = { sent: 0, queued: 1, acked: 2 } as const;

/** Writes `first` to `last` are done with. */
interface CopiesDone {
  readonly kind: "copies";
  readonly first: number;
  last: number;
}

/** When the byte `key` had come so far. */
export interface Stamp {
  readonly kind: "stamp";
  readonly what: number;
  readonly key: number;
  readonly atUs: number;
}

/** A write that is watched: where it ends, and what is still to be told. */
interface Watched {
  readonly end: number;
  readonly key: number;
  left: number;
}

/** The error queue of one socket. */
export class ErrorQueue {
  /** SO_ZEROCOPY. */
  zeroCopy = false;
  /** SO_TIMESTAMPING, as `Stamping` bits. */
  stamping = 0;
  /** Sequence number that timestamps count bytes from. */
  #keyStart = 0;
  #nextCopy = 0;
  readonly #entries: (CopiesDone | Stamp)[] = [];
  readonly #copies: { readonly id: number; readonly end: number }[] = [];
  readonly #stamps: Watched[] = [];

  get length(): number {
    return this.#entries.length;
  }

  /** Takes the oldest entry out. */
  take(): CopiesDone | Stamp | undefined {
    return this.#entries.shift();
  }

  /** SO_TIMESTAMPING. @returns Whether all that it asks for is known here. */
  setStamping(flags: number, tcb: Tcb | undefined): boolean {
    if ((flags & ~STAMPING_KNOWN) !== 0) return false;
    if (tcb !== undefined && (flags & Stamping.id) !== 0 && (this.stamping & Stamping.id) === 0) {
      this.#keyStart = tcb.sndUna;
    }
    this.stamping = flags;
    return true;
  }

  /** The program has written something, with MSG_ZEROCOPY or without. */
  wrote(tcb: Tcb, zeroCopy: boolean): void {
    const end = (sendEnd(tcb) + (tcb.state === TcpState.synSent ? 1 : 0)) | 0; // behind the SYN
    if (zeroCopy && this.zeroCopy) this.#copies.push({ id: this.#nextCopy++, end });
    const wanted = this.stamping & (Stamping.queued | Stamping.sent | Stamping.acked);
    const key = (this.stamping & Stamping.id) !== 0 ? (end - this.#keyStart - 1) >>> 0 : 0;
    if (wanted !== 0) this.#stamps.push({ end, key, left: wanted });
  }

  /** Time has passed. @returns Whether there is something new to read. */
  watch(tcb: Tcb, nowUs: number): boolean {
    const before = this.#news;
    while (this.#copies.length > 0 && seqLessEqual(this.#copies[0]!.end, tcb.sndUna)) this.#finishCopy();
    for (const stamp of this.#stamps) {
      if (seqLessEqual(stamp.end, tcb.sndMax)) {
        this.#tell(stamp, Stamping.queued, StampKind.queued, nowUs);
        this.#tell(stamp, Stamping.sent, StampKind.sent, nowUs);
      }
      if (seqLessEqual(stamp.end, tcb.sndUna)) this.#tell(stamp, Stamping.acked, StampKind.acked, nowUs);
    }
    while (this.#stamps[0]?.left === 0) this.#stamps.shift();
    return this.#news !== before;
  }

  /** The connection is over: what it had not sent is free, too. */
  end(): void {
    while (this.#copies.length > 0) this.#finishCopy();
    this.#stamps.length = 0;
  }

  #news = 0;

  #tell(stamp: Watched, bit: number, what: number, atUs: number): void {
    if ((stamp.left & bit) === 0) return;
    stamp.left &= ~bit;
    this.#news++;
    this.#entries.push({ kind: "stamp", what, key: stamp.key, atUs });
  }

  /** One entry stands for all that ended side by side and was not read. */
  #finishCopy(): void {
    const { id } = this.#copies.shift()!;
    const last = this.#entries.at(-1);
    this.#news++;
    if (last?.kind === "copies" && last.last + 1 === id) last.last = id;
    else this.#entries.push({ kind: "copies", first: id, last: id });
  }
}
