import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import type { Slab } from "../../base/slab.ts";
import type { Link, LinkCounters, LinkSink, Medium } from "./link.ts";
import type { PcapngWriter } from "./pcapng_writer.ts";

export { type Direction, LinkType } from "./pcapng.ts";
export { type CapturedPacket, mediumOf, PcapngError, readPcapng } from "./pcapng_reader.ts";
export { readCapture, readPcap } from "./pcap_reader.ts";
export { PcapngWriter } from "./pcapng_writer.ts";

/**
 * Records everything that a link sends and receives; the tap then owns the link.
 *
 * `in` is what the link delivers, `out` what it accepted to send: a frame that it dropped is not
 * recorded. The capture is flushed at the end of each batch.
 *
 * @example
 * ```ts
 * import { SystemClock } from "@torpor/torpor/base/clock.ts";
 * import { PcapngWriter, tap } from "@torpor/torpor/net/link/pcap.ts";
 * import { pipe } from "@torpor/torpor/net/link/pipe.ts";
 * const parts: Uint8Array[] = [];
 * const [left] = pipe();
 * const recorded = tap(left, new PcapngWriter((bytes) => parts.push(bytes)), new SystemClock(), "left");
 * ```
 */
export function tap(inner: Link, writer: PcapngWriter, clock: Clock, name?: string): Link {
  return new Tap(inner, writer, clock, name);
}

class Tap implements Link {
  readonly medium: Medium;
  readonly mtu: number;
  readonly #inner: Link;
  readonly #writer: PcapngWriter;
  readonly #clock: Clock;
  readonly #interface: number;
  #opened = false;

  constructor(inner: Link, writer: PcapngWriter, clock: Clock, name: string | undefined) {
    this.medium = inner.medium;
    this.mtu = inner.mtu;
    this.#inner = inner;
    this.#writer = writer;
    this.#clock = clock;
    this.#interface = writer.addInterface(inner.medium, name);
  }

  get counters(): LinkCounters {
    return this.#inner.counters;
  }

  open(sink: LinkSink): void {
    assert(!this.#opened, "A link belongs to one sink for its whole life");
    this.#opened = true;
    this.#inner.open({
      receive: (slab, start, end) => {
        this.#writer.packet(this.#interface, "in", this.#clock.nowMs(), slab, start, end);
        sink.receive(slab, start, end);
      },
      flush: () => {
        sink.flush();
        this.#writer.flush();
      },
      closed: (error) => {
        this.#writer.flush();
        sink.closed(error);
      },
    });
  }

  send(slab: Slab, start: number, end: number): boolean {
    const sent = this.#inner.send(slab, start, end);
    if (sent) this.#writer.packet(this.#interface, "out", this.#clock.nowMs(), slab, start, end);
    return sent;
  }

  flush(): void {
    this.#inner.flush();
    this.#writer.flush();
  }

  close(): void | Promise<void> {
    this.#writer.flush();
    return this.#inner.close();
  }
}
