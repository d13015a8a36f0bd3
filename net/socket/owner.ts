import type { Tcb } from "../tcp/tcb.ts";

/** Whoever an awake connection belongs to. */
export interface Owner {
  /** @internal `events` is a set of `TcpEvent` bits. */
  tcpEvents(tcb: Tcb, events: number): void;
  /**
   * @internal The TCB is about to be freed.
   * @returns Whether this owner wants to be the owner again after the restore, at the price of staying in memory.
   */
  suspended(tcb: Tcb, record: number): boolean;
  /** @internal Awake again, with a new TCB, or with the old one when the sleep was called off by `Host.wake`. */
  restored(tcb: Tcb): void;
  /** @internal The host is being closed: whoever waits for something is told so. No call of the host works any more. */
  hostClosed(): void;
}

/** Whoever listens: makes owners for connections that have none. */
export interface Acceptor {
  /** @internal A handshake is over. */
  accepted(tcb: Tcb): void;
  /** @internal A connection of an earlier process, or of an owner that let go, is awake. */
  restored(tcb: Tcb): void;
  /** @internal As `Owner.hostClosed`. */
  hostClosed(): void;
}
