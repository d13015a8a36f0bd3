import { copyBytes, packetSlab, type Slab } from "./slab.ts";

/**
 * The end of a packet whose data does not lie behind its headers, but still in the packet memory where its sender's ring
 * has it: in one piece, or in two where the ring begins again.
 */
export class Tail {
  /** So many bytes; 0 when the packet is whole. */
  bytes = 0;
  at = 0;
  /** So many of them, the last ones, lie at `restAt`. */
  restBytes = 0;
  restAt = 0;
}

/** Copies it to `to[at...]`. */
export function copyTail(tail: Tail, to: Slab, at: number): void {
  const { restBytes } = tail;
  const first = tail.bytes - restBytes;
  copyBytes(packetSlab, tail.at, to, at, first);
  if (restBytes > 0) copyBytes(packetSlab, tail.restAt, to, at + first, restBytes);
}
