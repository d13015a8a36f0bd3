import { HANDED_ON } from "../../base/handed_on.ts";

/** What an ACK turned out to be, as bits of `AckSample.flags` (Linux's names without their FLAG_). */
export const Ack = {
  /** The segment carries data, SYN or FIN. */
  data: 1,
  /** It may have moved the window. */
  windowUpdate: 2,
  /** It acknowledges data of ours for the first time. */
  dataAcked: 4,
  /** Some of that was sent more than once. */
  retransmittedDataAcked: 8,
  /** New SACKs. */
  dataSacked: 16,
  /** ECN-Echo. */
  ece: 32,
  /** A retransmission was lost, too. */
  lostRetransmission: 64,
  /** Data that was in flight when the state began, and never sent twice, has arrived. */
  originalArrived: 128,
  /** SND.UNA moved. */
  advanced: 256,
  /** It reports a duplicate that we caused. */
  dsack: 512,
  /** The duplicate is the tail loss probe. */
  dsackProbe: 1024,
  /** The new head of the queue was SACKed before. */
  reneging: 2048,
  /** The timer must be set anew. */
  setTimer: 4096,
  /** A lone small segment: its ACK may have been delayed. */
  maybeDelayed: 8192,
} as const;

/** An ACK with any of these is no duplicate ACK (RFC 5681 section 2). */
export const ACK_NOT_DUPLICATE: number = Ack.data | Ack.windowUpdate | Ack.dataAcked;

/** What is learnt from one ACK while it is processed. There is one for all: nothing in it outlives the ACK. */
export class AckSample {
  /** `Ack` bits. */
  flags = 0;
  nowMs: number = HANDED_ON;
  /** SND.UNA before it. */
  priorUna = 0;
  /** TSecr of the segment; means something when `hasEcho`. */
  tsEcr = 0;
  hasEcho = false;
  /** Its timestamp is newer than any before: it is no old ACK. Set before `reset`. */
  tsAdvanced = false;
  /** When the first and the last of the newly SACKed segments left, if they were sent once; -1 for none. */
  firstSackedMs = -1;
  lastSackedMs = -1;
  /** Lowest sequence number that arrived after its successors. */
  reordered = 0;
  /** Segments that its SACKs and DSACKs say have arrived. */
  sackDelivered = 0;
  /** Bytes newly acknowledged or SACKed. */
  deliveredBytes = 0;
  /** Tcb.delivered and Tcb.lost before it. */
  priorDelivered = 0;
  priorLost = 0;
  /** Round trip of the last segment that it acknowledges, microseconds; -1 for none. */
  rttUs = -1;

  /** Begins with a new ACK. */
  reset(nowMs: number, priorUna: number, delivered: number, lost: number): void {
    this.flags = 0;
    this.nowMs = nowMs;
    this.priorUna = priorUna;
    this.tsEcr = 0;
    this.hasEcho = false;
    this.firstSackedMs = this.lastSackedMs = -1;
    this.reordered = 0;
    this.sackDelivered = 0;
    this.deliveredBytes = 0;
    this.priorDelivered = delivered;
    this.priorLost = lost;
    this.rttUs = -1;
  }
}
