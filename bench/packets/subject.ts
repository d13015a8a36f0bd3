/** What is measured: data in bulk, one byte there and one back, or a whole connection for that. */
export type Work = "bulk" | "roundTrips" | "connections";

/** What was done in one round. */
export interface Done {
  /** Bytes, round trips or connections. */
  readonly count: number;
  /** Packets in both directions; NaN where nobody counts them. */
  readonly packets: number;
  readonly elapsedMs: number;
}

/** Two ends of a TCP in one process and one thread, which can be told to work for about `roundMs`. */
export interface Subject {
  run(work: Work, roundMs: number): Done | Promise<Done>;
  close(): void;
}

/** Bytes written at a time. */
export const CHUNK_BYTES = 64 * 1024;
/** What the server's ports do: count what comes; send it back; send it back and close. */
export const PORT = { discard: 9, echo: 7, once: 8 } as const;
