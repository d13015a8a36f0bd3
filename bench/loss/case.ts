/** Who sends to whom over the impaired link. */
export const SUBJECTS = ["Linux to Linux", "ours to Linux", "Linux to ours"] as const;
export type Subject = (typeof SUBJECTS)[number];

/** One transfer. */
export interface Case {
  readonly subject: Subject;
  /** Of data packets, 0 to 1. */
  readonly loss: number;
  readonly rttMs: number;
  readonly seed: number;
  /** How long the receiver counts, from the first byte on. */
  readonly ms: number;
}

/** Fast enough to fill windows, slow enough that the processor does not decide. */
export const RATE_BYTES_PER_S = 100e6 / 8;
const FRAME_BYTES = 1500;

/** What the data's direction holds: what is under way, and a queue of a bandwidth-delay product. */
export function queueFrames(rttMs: number): number {
  const product = (RATE_BYTES_PER_S * rttMs) / 1000 / FRAME_BYTES;
  return Math.ceil(product / 2 + Math.max(product, QUEUE_MIN_FRAMES));
}
/** An initial window, and as much again: even a short path has a queue that takes a burst. */
const QUEUE_MIN_FRAMES = 64;

export const SINK_PORT = 5001;
export const SOURCE_PORT = 5002;
export const LEFT_ADDRESS = "10.78.0.1";
export const RIGHT_ADDRESS = "10.78.0.2";
export const OUR_ADDRESS = "10.78.0.3";
export const LEFT_TUN = "torlossa";
export const RIGHT_TUN = "torlossb";
export const CHUNK_BYTES = 65_536;
