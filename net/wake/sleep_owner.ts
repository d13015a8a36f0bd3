import type { Tcb } from "../tcp/tcb.ts";

/**
 * Who keeps the sleeping connections (checkpoint/sleep/sleeper.ts). The stack asks, the owner restores.
 *
 * While a record is in state `waking`, the stack holds its packets. The owner ends that by calling
 * `Sleepers.resume` (restored), `Sleepers.unsave` (the sleep was cancelled) or `Sleepers.forget` (the image is lost).
 */
export interface SleepOwner {
  /** @internal A connection is established: from now on it may be looked at. */
  watch(tcb: Tcb, nowMs: number): void;
  /** @internal This connection is wanted awake. Called once until it is; the answer may come within `turn`. */
  wake(record: number, nowMs: number): void;
  /** @internal Whether a connection that is wanted awake has to wait, for longer than a turn takes: its noise is answered meanwhile. */
  waits(record: number): boolean;
  /** @internal A sleeper's peer has shown life: its first deadline is now this one, epoch milliseconds. */
  deadlineMoved(record: number, deadlineMs: number): void;
  /**
   * @internal The peer's address as its image has it, of a connection that sleeps or is wanted awake; `undefined` when that cannot
   * be read. Without this, sleepers of IPv6 peers have no name.
   */
  frozenPeerOf?(record: number): number | Uint8Array | undefined;
  /** @internal A durable connection is not as its log says, or has ended. Told once until its state is taken (`tcpLog`), and at its end. */
  moved(tcb: Tcb): void;
  /** @internal The end of a turn: the time to serve the wakes that were gathered, all at once. */
  turn(nowMs: number): void;
  /** @internal When the owner wants the next turn at the latest; `Infinity` when nothing is due. */
  nextDeadlineMs(): number;
}
