/** What is measured: data in bulk, one byte there and one back, a whole connection for that, or small datagrams. */
export type Work = "bulk" | "roundTrips" | "connections" | "datagrams";

/** What was done in one round. */
export interface Done {
  /** Bytes, round trips or connections. */
  readonly count: number;
  /** Packets in both directions; NaN where nobody counts them. */
  readonly packets: number;
  readonly elapsedMs: number;
  /** Processor time, where it is not this process's. */
  readonly cpuMs?: number;
}

/** Two ends of a TCP in one process and one thread, which can be told to work for about `roundMs`. */
export interface Subject {
  /** `undefined` for what it cannot do. */
  run(work: Work, roundMs: number): Done | undefined | Promise<Done | undefined>;
  close(): void | Promise<void>;
}

/** Data of a datagram whose IP packet has 64 bytes; how many are sent before somebody reads. */
export const DATAGRAM_BYTES = 36;
export const DATAGRAMS = 64;
/** Bytes written at a time. */
export const CHUNK_BYTES = 64 * 1024;
/** What the server's ports do: count what comes; send it back; send it back and close. */
export const PORT = { discard: 9, echo: 7, once: 8, datagrams: 10 } as const;
