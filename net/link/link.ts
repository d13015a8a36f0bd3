import type { Slab } from "../../base/slab.ts";
import type { Tail } from "../../base/tail.ts";

/** What a link carries: Ethernet frames without FCS, or bare IP packets. */
export type Medium = "ethernet" | "ip";

/** Bytes in front of a packet that `Link.send` may overwrite, where there are so many: a device's header goes there. */
export const LINK_HEADROOM = 12;

/** Where a link delivers what arrives. Called from the link's own callbacks, never re-entrantly. */
export interface LinkSink {
  /**
   * One frame in `[start, end)` of `slab`, valid until this call returns.
   *
   * `segmentBytes` above 0, for a sink that `trains`, says that it never was on a wire: the checksum of its TCP or UDP
   * header is not filled in and need not be verified, and TCP data longer than that is a train, several segments of
   * so many bytes each that share one header.
   */
  receive(slab: Slab, start: number, end: number, segmentBytes?: number): void;
  /** Whether it takes what has `segmentBytes`. Others get frames as they are on a wire. */
  readonly trains?: boolean;
  /**
   * Whether a batch should end here although there is more: an application's buffer has been filled, and a turn of the
   * event loop brings another. False again after `flush`.
   */
  readonly full?: boolean;
  /** The batch is over: now is the time to answer. */
  flush(): void;
  /** The link has ended; `error` says why when it was not asked to. Called once. */
  closed(error?: Error): void;
}

/** Counts kept by every link. */
export interface LinkCounters {
  /** Frames that were delivered. */
  framesIn: number;
  /** Frames that were sent. */
  framesOut: number;
  /** Bytes of those that were delivered. */
  bytesIn: number;
  /** Bytes of those that were sent. */
  bytesOut: number;
  /** Frames that were given to `send` and could not leave. */
  dropsOut: number;
  /** Frames that arrived and were unusable (too long, cut short). */
  dropsIn: number;
}

/**
 * A place where packets enter and leave.
 *
 * A link belongs to one sink for its whole life. `send` never keeps the slab: the frame is written
 * or copied before it returns.
 */
export interface Link {
  /** What its frames are. */
  readonly medium: Medium;
  /** The largest IP packet that fits, in bytes (Ethernet's 14 bytes of header are not counted). */
  readonly mtu: number;
  /** What has crossed it. */
  readonly counters: LinkCounters;
  /**
   * The longest IP packet, in bytes, that `send` takes with `segmentBytes`: the device fills in checksums and cuts
   * trains (TSO). Absent or 0 where it does not.
   */
  readonly trainBytesMax?: number;
  /** Waiting for frames keeps the process alive, as it does by default. Absent where it never does, or always. */
  ref?(): void;
  /** It does not. */
  unref?(): void;
  /** Starts delivery. Nothing is delivered before this call or inside it. */
  open(sink: LinkSink): void;
  /**
   * Sends one frame; false when it was dropped (queue full, closed). Loss is normal: TCP repairs it. It may overwrite
   * {@linkcode LINK_HEADROOM} bytes in front of `start`.
   *
   * `segmentBytes` above 0, where `trainBytesMax` allows it: see {@linkcode LinkSink.receive}; the checksum field then
   * holds the sum of the pseudo-header.
   */
  send(slab: Slab, start: number, end: number, segmentBytes?: number): boolean;
  /**
   * As `send` of `[start, end)`, whose last `tail.bytes` do not lie there but elsewhere in the packet memory
   * (base/packet_memory.ts); `slab` lies in it, too, and they may be copied to where they would lie. Absent where a link
   * gains nothing by this.
   */
  sendGathered?(slab: Slab, start: number, end: number, segmentBytes: number, tail: Tail): boolean;
  /** Ends a batch of sends: a link that gathers frames writes them now. */
  flush(): void;
  /**
   * Stops delivery and frees the device. Idempotent. Where that takes longer than the call, what it returns resolves when
   * somebody else can have the device.
   */
  close(): void | Promise<void>;
}

/** Fresh counters. */
export function linkCounters(): LinkCounters {
  return { framesIn: 0, framesOut: 0, bytesIn: 0, bytesOut: 0, dropsOut: 0, dropsIn: 0 };
}
