import { copyBytes, packetSlab, type Slab } from "./slab.ts";

/**
 * The end of a packet whose data does not lie behind its headers, but still in the packet memory where its sender's ring
 * has it: in one piece, or in two where the ring begins again. Lengths and places are bytes.
 *
 * @example A packet of 28 bytes of headers, whose data is nowhere else yet
 * ```ts
 * import { copyTail, Slab, Tail } from "@torpor/torpor";
 * const tail = new Tail();
 * const packet = Slab.of(28 + tail.bytes);
 * copyTail(tail, packet, 28);
 * ```
 */
export class Tail {
  /** So many bytes; 0 when the packet is whole. */
  bytes = 0;
  /** Where they lie in the packet memory. */
  at = 0;
  /** So many of them, the last ones, lie at `restAt`. */
  restBytes = 0;
  /** Where the ring begins again. */
  restAt = 0;
}

/** Copies a tail to `to[at...]`: for a link that takes packets in two pieces, and gathers them somewhere. */
export function copyTail(tail: Tail, to: Slab, at: number): void {
  const { restBytes } = tail;
  const first = tail.bytes - restBytes;
  copyBytes(packetSlab, tail.at, to, at, first);
  if (restBytes > 0) copyBytes(packetSlab, tail.restAt, to, at + first, restBytes);
}
