import { type Link, type LinkCounters, linkCounters, type LinkSink, type Medium } from "./link.ts";

/** Milliseconds between attempts: soon enough to be unnoticed, rare enough to cost nothing. */
const RETRY_MS = 20;

/**
 * A link that outlives its far end. A host opens it once; what carries the frames underneath may end
 * and be replaced any number of times. Frames sent meanwhile are lost, as on a cable that is not
 * plugged in, and TCP sends them again.
 */
export class ReconnectingLink implements Link {
  /** What its frames are. */
  readonly medium: Medium;
  /** The largest IP packet, in bytes. */
  readonly mtu: number;
  /** What has crossed it, whatever carried it. */
  readonly counters: LinkCounters = linkCounters();
  /** How often something was attached. */
  attached = 0;
  #carrier: Link | undefined;
  #sink: LinkSink | undefined;
  #waiting: Link | undefined; // attached before `open`
  #closed = false;
  #freed: Promise<void> | undefined;
  readonly #lost: () => void;
  readonly #end: () => void | Promise<void>;

  /**
   * `lost` is called each time the carrier ends by itself, `end` once, as the link is closed: `close` waits for what it
   * returns, too.
   */
  constructor(
    options: { medium?: Medium; mtu?: number; lost?: () => void; end?: () => void | Promise<void> } = {},
  ) {
    this.medium = options.medium ?? "ethernet";
    this.mtu = options.mtu ?? 1500;
    this.#lost = options.lost ?? (() => {});
    this.#end = options.end ?? (() => {});
  }

  /** Frames go through `carrier` from now on; what was there before is closed. */
  attach(carrier: Link): void {
    if (this.#closed) return void carrier.close();
    if (this.#sink === undefined) {
      this.#waiting?.close();
      this.#waiting = carrier;
      return;
    }
    const sink = this.#sink;
    const before = this.#carrier;
    this.#carrier = carrier;
    this.attached++;
    before?.close();
    carrier.open({
      receive: (slab, start, end) => {
        if (carrier !== this.#carrier) return;
        this.counters.framesIn++;
        this.counters.bytesIn += end - start;
        sink.receive(slab, start, end);
      },
      flush: () => sink.flush(),
      closed: () => {
        if (carrier !== this.#carrier) return;
        this.#carrier = undefined;
        if (!this.#closed) this.#lost();
      },
    });
  }

  /** As {@linkcode Link.open}. */
  open(sink: LinkSink): void {
    this.#sink = sink;
    if (this.#closed) return void setTimeout(() => sink.closed(), 0);
    const carrier = this.#waiting;
    this.#waiting = undefined;
    // Nothing may be delivered inside `open`, and a carrier keeps to that too.
    if (carrier !== undefined) this.attach(carrier);
  }

  /** As {@linkcode Link.send}; false while nothing is attached. */
  readonly send: Link["send"] = (slab, start, end) => {
    if (this.#carrier?.send(slab, start, end)) {
      this.counters.framesOut++;
      this.counters.bytesOut += end - start;
      return true;
    }
    this.counters.dropsOut++;
    return false;
  };

  /** As {@linkcode Link.flush}. */
  flush(): void {
    this.#carrier?.flush();
  }

  /** As {@linkcode Link.close}: what carries it is closed as well. */
  close(): Promise<void> {
    if (this.#freed !== undefined) return this.#freed;
    this.#closed = true;
    const freed = [this.#waiting?.close(), this.#carrier?.close(), this.#end()];
    if (this.#sink !== undefined) setTimeout(() => this.#sink!.closed(), 0);
    return this.#freed = Promise.all(freed).then(() => {});
  }

  /** Whether it has been closed. */
  get closed(): boolean {
    return this.#closed;
  }
}

/**
 * A link that connects again, for ever, whenever its far end goes away.
 *
 * @example
 * ```ts
 * import { connectUnix, Host, reconnect } from "@torpor/torpor";
 * const link = await reconnect(() => connectUnix({ path: "/run/net.sock" }));
 * const host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.2/24" }] });
 * ```
 */
export async function reconnect(connect: () => Promise<Link>): Promise<ReconnectingLink> {
  const first = await connect();
  const again = async (): Promise<void> => {
    while (!link.closed) {
      try {
        return link.attach(await connect());
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS)); // nobody listens there yet
      }
    }
  };
  const link = new ReconnectingLink({ medium: first.medium, mtu: first.mtu, lost: () => void again() });
  link.attach(first);
  return link;
}
