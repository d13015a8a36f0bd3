/** Places of `copied`. */
export const Copies = {
  /** On the way in: from what a link has read to what an application reads. */
  in: 0,
  /** On the way out: from what an application writes to what a link sends from. */
  out: 1,
  /** By a ring that has outgrown its buffer, or left it. */
  rings: 2,
} as const;

/**
 * Bytes of TCP's data that have been copied in this thread, by way. For tests and benches, which divide by what has come
 * through: docs/performance.md lists who counts. What links copy to carry it is theirs and not counted.
 */
export const copied: Float64Array = new Float64Array(3); // a cell, since a number that grows is made anew each time
