import type { Analyzer } from "../analyzer.ts";
import type { WakeBudget } from "../../net/wake/policy.ts";
import type { WakeReason } from "../wake_times.ts";

/** What a sleeper tells about. */
export interface SleeperEvents {
  /** The image is durable and the connection's objects are gone. */
  suspended(event: { id: string; imageBytes: number; tookMs: number }): void;
  /** The connection is awake again: why, and how long that took, where it is known (of all but some in a herd it is). */
  restored(event: { id: string; reason?: WakeReason; tookMs?: number }): void;
  /** The image could not be read: the peer will get a reset. An `error` when nobody listens to it. */
  lost(event: { id: string; error: Error }): void;
  /** As `lost`, before it, for whoever only looks on: it stays an `error` when nobody listens to `lost`. */
  seenLost(event: { id: string; error: Error }): void;
  /**
   * The store, an attachment or the analyzer refused something: connections stay as they are, and it is tried
   * again. Or an image that `recover` found could not be used. When nobody listens, each message goes to
   * `console.error` once.
   */
  error(error: Error): void;
}

export interface SleeperOptions {
  /** Default: sixty seconds without data. */
  readonly analyzer?: Analyzer;
  /** Connections suspended, or restored, in one turn, so that no turn takes long. */
  readonly batchMax?: number;
  /** How many may wake, and be awake, of all listeners together. Default: no limit. */
  readonly wake?: WakeBudget;
}

/** Counts since the start, and how many are under way. */
export interface SleeperStats {
  /** Connections that fell asleep. */
  suspends: number;
  /** Connections that woke. */
  restores: number;
  /** Connections whose images could not be read. */
  lost: number;
  /** Connections whose images are being written. */
  saving: number;
  /** Connections that wait for a budget to wake by. */
  waiting: number;
  /** Wakes that had to. */
  waited: number;
  /** Wakes by what asked for them. */
  wakes: Readonly<Record<WakeReason, number>>;
}
