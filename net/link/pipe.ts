import { assert } from "../../base/assert.ts";
import { type Clock, SystemClock } from "../../base/clock.ts";
import type { Slab } from "../../base/slab.ts";
import type { Tail } from "../../base/tail.ts";
import { checkMtu, frameBytesMax } from "./frame_limit.ts";
import { FrameQueue } from "./frame_queue.ts";
import { cutTrain } from "../wire/train.ts";
import { soon } from "./soon.ts";
import { type Link, type LinkCounters, linkCounters, type LinkSink, type Medium } from "./link.ts";

/** Frames that may wait in each direction: more than the largest window of a connection, 6 MiB, in segments. */
const QUEUE_MAX_DEFAULT = 8_192;

/** The longest train: what the length field of IPv4 can say. */
const TRAIN_BYTES_MAX = 65_535;

/** What a pipe is like; both directions are alike. */
export interface PipeOptions {
  /**
   * Schedules every delivery, so that a whole world runs in virtual time. Without a clock a frame
   * arrives in a later turn of the event loop, as soon as possible.
   */
  clock?: Clock;
  /** How long a frame travels, in ms; the system's clock measures it when no clock is given. */
  delayMs?: number;
  /** What its frames are. Default: Ethernet. */
  medium?: Medium;
  /** The largest IP packet, in bytes. */
  mtu?: number;
  /**
   * Whether packets may cross in trains of up to 64 KB and without checksums, as between two programs of one machine.
   * For bare IP packets; where the far end's sink does not take trains they are cut. Default false: frames are as on a wire.
   */
  offloads?: boolean;
  /** Frames on the way in one direction; further ones are dropped and counted. */
  queueMax?: number;
}

/**
 * Two links in memory, each the other's far end.
 *
 * A frame arrives in a later turn, never inside `send`; frames keep their order. Frames sent before
 * the far end is open wait for it. When one end closes, the other receives what was sent to it and is
 * then told `closed()`; so is the closing end's own sink, in a later turn.
 *
 * @throws {RangeError} When `mtu` is not a whole number from 68 to 65,535.
 * @example
 * ```ts
 * import { Slab } from "@torpor/torpor/base/slab.ts";
 * import { pipe } from "@torpor/torpor/net/link/pipe.ts";
 * const [left, right] = pipe({ medium: "ip" });
 * right.open({
 *   receive: (slab, start, end) => console.log(slab.bytes.subarray(start, end)), // Uint8Array(2) [ 1, 2 ]
 *   flush: () => left.close(),
 *   closed: () => {},
 * });
 * left.send(new Slab(Uint8Array.of(1, 2)), 0, 2);
 * ```
 */
export function pipe(options: PipeOptions = {}): [Link, Link] {
  const left = new PipeEnd(options);
  const right = new PipeEnd(options);
  left.join(right);
  right.join(left);
  return [left, right];
}

class PipeEnd implements Link {
  readonly medium: Medium;
  readonly mtu: number;
  readonly trainBytesMax: number;
  readonly counters: LinkCounters = linkCounters();
  readonly #clock: Clock | undefined;
  readonly #delayMs: number;
  readonly #frameBytesMax: number;
  /** What travels toward this end. */
  readonly #incoming: FrameQueue;
  readonly #turn: () => void;
  readonly #receiveCut = (slab: Slab, start: number, end: number): void => {
    if (!this.#closed) this.#sink!.receive(slab, start, end);
  };
  #far: PipeEnd | undefined;
  #sink: LinkSink | undefined;
  /** A turn is scheduled. At most one is. */
  #scheduled = false;
  #closed = false;
  #told = false;

  constructor(options: PipeOptions) {
    this.medium = options.medium ?? "ethernet";
    this.mtu = checkMtu(options.mtu ?? 1500);
    this.trainBytesMax = options.offloads && this.medium === "ip" ? TRAIN_BYTES_MAX : 0;
    this.#delayMs = options.delayMs ?? 0;
    this.#clock = options.clock ?? (this.#delayMs > 0 ? new SystemClock() : undefined);
    this.#frameBytesMax = frameBytesMax(this.medium, this.mtu);
    this.#incoming = new FrameQueue(options.queueMax ?? QUEUE_MAX_DEFAULT);
    this.#turn = () => this.#deliver();
  }

  join(far: PipeEnd): void {
    this.#far = far;
  }

  open(sink: LinkSink): void {
    assert(this.#sink === undefined, "A link belongs to one sink for its whole life");
    this.#sink = sink;
    if (this.#incoming.count > 0 || this.#ended) this.#schedule();
  }

  send(slab: Slab, start: number, end: number, segmentBytes = 0): boolean {
    return this.sendGathered(slab, start, end, segmentBytes);
  }

  /** What TCP has in its ring goes to the far end from there. */
  sendGathered(slab: Slab, start: number, end: number, segmentBytes: number, tail?: Tail): boolean {
    const far = this.#far!;
    const length = end - start;
    assert(length > 0 && start >= 0 && end <= slab.bytes.length, "A frame lies inside its slab");
    assert(segmentBytes === 0 || this.trainBytesMax > 0, "Trains go where they are cut");
    const bytesMax = segmentBytes > 0 ? this.trainBytesMax : this.#frameBytesMax;
    if (this.#closed || far.#closed || length > bytesMax) {
      this.counters.dropsOut++;
      return false;
    }
    const dueMs = this.#clock === undefined ? 0 : this.#clock.nowMs() + this.#delayMs;
    if (!far.#incoming.push(slab, start, end, dueMs, segmentBytes, tail)) {
      this.counters.dropsOut++;
      return false;
    }
    this.counters.framesOut++;
    this.counters.bytesOut += length;
    if (!far.#scheduled) far.#schedule();
    return true;
  }

  flush(): void {}

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#incoming.clear();
    this.#schedule();
    this.#far!.#schedule();
  }

  get #ended(): boolean {
    return this.#closed || this.#far!.#closed;
  }

  #schedule(): void {
    if (this.#scheduled || this.#sink === undefined) return;
    this.#scheduled = true;
    if (this.#clock === undefined) soon(this.#turn);
    else {this.#clock.at(
        this.#incoming.count > 0 ? this.#incoming.headDueMs : this.#clock.nowMs(),
        this.#turn,
      );}
  }

  #deliver(): void {
    this.#scheduled = false;
    const { counters } = this;
    const queue = this.#incoming;
    const sink = this.#sink!;
    const nowMs = this.#clock === undefined ? 0 : this.#clock.nowMs();
    let delivered = 0;
    // Frames that are sent while this batch is read belong to the next one: a loop of answers must not
    // keep the event loop to itself.
    for (let frames = queue.count; frames > 0 && queue.count > 0 && queue.headDueMs <= nowMs; frames--) {
      if (sink.full) break;
      const { headStart, headEnd } = queue;
      counters.framesIn++;
      counters.bytesIn += headEnd - headStart;
      if (queue.headSegmentBytes === 0 || sink.trains) {
        sink.receive(queue.slab, headStart, headEnd, queue.headSegmentBytes);
      } else {
        cutTrain(queue.slab, headStart, headEnd, queue.headSegmentBytes, this.#receiveCut);
      }
      if (this.#closed) break; // and close() has emptied the queue
      queue.shift();
      delivered++;
    }
    if (delivered > 0 && !this.#closed) sink.flush();
    if (queue.count > 0) this.#schedule();
    else if (this.#ended && !this.#told) {
      this.#told = true;
      sink.closed();
    }
  }
}
