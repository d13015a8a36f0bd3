import { TcpFlag } from "../../net/wire/tcp.ts";
import { seqLess } from "../../base/sequence.ts";
import { OptionKind } from "../packetdrill/parse_tcp_options.ts";
import type { Segment } from "../packetdrill/segment.ts";
import type { AckRef, SequenceRef } from "./plan.ts";

/** What the peer of one host knows of it, from its segments alone. */
export class View {
  /** The peer's ISN; of a connection that follows another, the number that the SYN-ACK tells. */
  isn: number;
  /** Edges that segments were drawn around: hosts have different windows, and see these numbers alike. */
  readonly anchors: number[] = [];
  /** What the peer has sent in order, as far as it knows; its window's right edge; what it was acknowledged last. */
  next: number;
  edge: number;
  acked: number;
  /** The host's ISN, once it has sent a SYN. */
  iss: number | undefined = undefined;
  /** What its last SYN-ACK acknowledged. */
  #synAcked: number | undefined = undefined;
  /** The end of what it has sent, and what of that the peer has acknowledged. */
  hostNext = 0;
  una = 0;
  hostPort = 0;
  /** Shift of the host's windows: what its SYN said, once the peer's SYN said something, too. */
  shift = 0;
  peerOffersScale = false;
  hostScale = -1;
  tsFirst = 0;
  tsLast = 0;

  constructor(isn: number) {
    this.isn = isn;
    this.next = this.edge = this.acked = isn;
  }

  sequence({ from, plus }: SequenceRef): number {
    if (from === "edge" && this.anchors.at(-1) !== this.edge) this.anchors.push(this.edge);
    return (this[from] + plus) | 0;
  }

  acknowledgment({ from, plus }: AckRef): number {
    const base = from === "iss" ? this.iss ?? 0 : from === "una" ? this.una : this.hostNext;
    return (base + plus) | 0;
  }

  /** A segment of the peer leaves. */
  sent(sequence: number, length: number, flags: number, acknowledgment: number): void {
    const end = (sequence + length + (flags & TcpFlag.SYN ? 1 : 0) + (flags & TcpFlag.FIN ? 1 : 0)) | 0;
    if (!seqLess(this.next, sequence) && seqLess(this.next, end)) this.next = end;
    const acks = (flags & TcpFlag.ACK) !== 0 && (flags & TcpFlag.RST) === 0;
    if (acks && seqLess(this.una, acknowledgment) && !seqLess(this.hostNext, acknowledgment)) {
      this.una = acknowledgment;
    }
  }

  /** The host has sent this. */
  heard(segment: Segment): void {
    const { flags } = segment;
    const sequence = segment.sequence | 0, acknowledgment = segment.acknowledgment | 0;
    this.hostPort = segment.sourcePort;
    for (const { kind, data } of segment.options) {
      if (kind === OptionKind.timestamp) {
        const value = (data[0]! << 24) | (data[1]! << 16) | (data[2]! << 8) | data[3]!;
        if (this.tsFirst === 0) this.tsFirst = value;
        this.tsLast = value;
      } else if (kind === OptionKind.windowScale && (flags & TcpFlag.SYN) !== 0) {
        this.hostScale = data[0]!;
      }
    }
    if ((flags & TcpFlag.RST) !== 0) return;
    const answers = (flags & (TcpFlag.SYN | TcpFlag.ACK)) === (TcpFlag.SYN | TcpFlag.ACK);
    const follows = this.iss !== undefined && answers && acknowledgment !== this.#synAcked;
    if (answers) this.#synAcked = acknowledgment;
    if ((flags & TcpFlag.SYN) !== 0 && (this.iss !== sequence || follows)) {
      if (follows) {
        this.isn = (acknowledgment - 1) | 0;
        this.edge = acknowledgment;
      }
      this.iss = this.una = sequence;
      this.hostNext = (sequence + 1) | 0;
    }
    if (this.iss === undefined) return; // a SYN cookie's or a stranger's
    const end = (sequence + segment.payload.length + (flags & TcpFlag.SYN ? 1 : 0) +
      (flags & TcpFlag.FIN ? 1 : 0)) | 0;
    if (seqLess(this.hostNext, end)) this.hostNext = end;
    if ((flags & TcpFlag.ACK) === 0) return;
    this.acked = acknowledgment;
    if (seqLess(this.next, acknowledgment)) this.next = acknowledgment;
    this.shift = this.peerOffersScale && this.hostScale >= 0 && (flags & TcpFlag.SYN) === 0
      ? this.hostScale
      : 0;
    const edge = (acknowledgment + (segment.window << this.shift)) | 0;
    if (seqLess(this.edge, edge)) this.edge = edge;
  }

  /** Nothing is on its way any more: what the host has acknowledged is what counts. */
  settle(): void {
    this.next = this.acked;
  }
}
