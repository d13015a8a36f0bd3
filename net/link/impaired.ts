import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";
import type { Slab } from "../../base/slab.ts";
import { frameBytesMax } from "./frame_limit.ts";
import { ImpairedLane, type ImpairmentCounters } from "./impaired_lane.ts";
import type { Link, LinkCounters, LinkSink, Medium } from "./link.ts";

/** What happens to frames. Probabilities are 0 to 1 and drawn for each frame on its own. */
export interface Impairments {
  /** Frames that vanish. */
  loss: number;
  /** Frames that arrive twice. */
  duplicate: number;
  /** Frames that are held back behind the next one to three, or for 20 ms when fewer follow. */
  reorder: number;
  /** Frames in which one bit, anywhere in the frame, is turned. */
  corrupt: number;
  /** How long every frame travels, in ms. */
  delayMs: number;
  /** Up to this much more, in ms, drawn evenly for each frame; frames may overtake each other. */
  jitterMs: number;
  /** How fast frames leave, in bytes per second; `Infinity` for no limit. */
  rateBytesPerS: number;
}

/** What goes wrong, how often, and by which clock and dice. */
export interface ImpairOptions extends Partial<Impairments> {
  /** Delays are measured by it. */
  clock: Clock;
  /** The same seed and the same frames at the same times give the same output. */
  seed: number;
  /** Frames under way in each direction; further ones are dropped and counted as `overflow`. */
  queueMax?: number;
  /** Seen from whoever holds the link: `in` impairs what is received, `out` what is sent. */
  direction?: "in" | "out" | "both";
}

/** A link with faults. */
export interface ImpairedLink extends Link {
  /** May be changed while the link runs; frames already under way keep what was drawn for them. */
  readonly impairments: Impairments;
  /** How often each fault struck, in and out together. */
  readonly struck: ImpairmentCounters;
}

/** Frames under way: 1,000 frames of 1,500 bytes are 120 ms at 100 Mbit/s. */
const QUEUE_MAX_DEFAULT = 1_000;

/**
 * Puts seeded faults in front of a link, which it then owns: loss, duplication, reordering, single-bit
 * corruption, delay, jitter and limited bandwidth.
 *
 * Each frame draws the same number of random values whatever the settings are, so changing one setting
 * does not change where the other faults strike. `counters` are those of `inner`.
 *
 * @example A pipe that loses every tenth frame toward its right end
 * ```ts
 * import { VirtualClock } from "@torpor/torpor/base/clock.ts";
 * import { impair } from "@torpor/torpor/net/link/impaired.ts";
 * import { pipe } from "@torpor/torpor/net/link/pipe.ts";
 * const clock = new VirtualClock();
 * const [left, right] = pipe({ clock });
 * const bad = impair(left, { clock, seed: 1, loss: 0.1, direction: "out" });
 * bad.impairments.loss = 0; // calm
 * ```
 */
export function impair(inner: Link, options: ImpairOptions): ImpairedLink {
  return new Impaired(inner, options);
}

class Impaired implements ImpairedLink {
  readonly medium: Medium;
  readonly mtu: number;
  readonly impairments: Impairments;
  readonly struck: ImpairmentCounters = { lost: 0, duplicated: 0, reordered: 0, corrupted: 0, overflow: 0 };
  readonly #inner: Link;
  readonly #in: ImpairedLane | undefined;
  readonly #out: ImpairedLane | undefined;
  #sink: LinkSink | undefined;
  #closed = false;

  constructor(inner: Link, options: ImpairOptions) {
    this.medium = inner.medium;
    this.mtu = inner.mtu;
    this.#inner = inner;
    this.impairments = {
      loss: options.loss ?? 0,
      duplicate: options.duplicate ?? 0,
      reorder: options.reorder ?? 0,
      corrupt: options.corrupt ?? 0,
      delayMs: options.delayMs ?? 0,
      jitterMs: options.jitterMs ?? 0,
      rateBytesPerS: options.rateBytesPerS ?? Infinity,
    };
    const { clock, seed, queueMax = QUEUE_MAX_DEFAULT, direction = "both" } = options;
    const lane = (
      laneSeed: number,
      receive: (slab: Slab, start: number, end: number) => void,
      flush: () => void,
    ) =>
      new ImpairedLane({
        clock,
        prng: new Prng(laneSeed),
        impairments: this.impairments,
        struck: this.struck,
        queueMax,
        frameBytesMax: frameBytesMax(inner.medium, inner.mtu),
        receive,
        flush,
      });
    // Two generators: what is sent must not change which of the received frames are lost.
    const seeds = new Prng(seed);
    const [seedIn, seedOut] = [seeds.uint32(), seeds.uint32()];
    if (direction !== "out") {
      this.#in = lane(
        seedIn,
        (slab, start, end) => this.#sink!.receive(slab, start, end),
        () => this.#sink!.flush(),
      );
    }
    if (direction !== "in") {
      this.#out = lane(seedOut, (slab, start, end) => void inner.send(slab, start, end), () => inner.flush());
    }
  }

  get counters(): LinkCounters {
    return this.#inner.counters;
  }

  open(sink: LinkSink): void {
    assert(this.#sink === undefined, "A link belongs to one sink for its whole life");
    this.#sink = sink;
    const lane = this.#in;
    this.#inner.open({
      receive: lane === undefined
        ? (slab, start, end) => sink.receive(slab, start, end)
        : (slab, start, end) => lane.take(slab, start, end),
      flush: lane === undefined ? () => sink.flush() : () => lane.flush(),
      closed: (error) => {
        this.#stop();
        sink.closed(error);
      },
    });
  }

  /** False only when the link is closed or the frame too long: a lost frame looks sent, as in life. */
  send(slab: Slab, start: number, end: number): boolean {
    if (this.#out === undefined || this.#closed || end - start > this.#out.frameBytesMax) {
      return this.#inner.send(slab, start, end);
    }
    this.#out.take(slab, start, end);
    return true;
  }

  flush(): void {
    if (this.#out === undefined) this.#inner.flush();
    else this.#out.flush();
  }

  close(): void | Promise<void> {
    this.#stop();
    return this.#inner.close();
  }

  #stop(): void {
    this.#closed = true;
    this.#in?.stop();
    this.#out?.stop();
  }
}
