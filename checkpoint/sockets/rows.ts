/**
 * Rows of whole numbers, as a connection's image has them since version 3: zeros that a row begins with are counted,
 * `[0, 0, 0, 0, 7]` is `[[4], 7]`. A row that begins with less than three of them is as it is.
 * @module
 */

/** From so many on they are counted. */
export const ZEROS_MIN = 3;
/** No row of ours is so long. */
export const ZEROS_MAX = 1_024;

/** How many zeros a row begins with, where that is worth counting; else 0. */
export function zerosBefore(row: readonly unknown[]): number {
  let zeros = 0;
  while (zeros < row.length && row[zeros] === 0) zeros++;
  return zeros >= ZEROS_MIN ? zeros : 0;
}

/** The row that `kept` stands for; `undefined` when nobody would have kept it like this. */
export function rowOf(kept: readonly unknown[]): unknown[] | undefined {
  const [run] = kept;
  if (!Array.isArray(run)) return zerosBefore(kept) > 0 ? undefined : [...kept];
  const [zeros] = run as unknown[];
  const known = run.length === 1 && Number.isInteger(zeros) && (zeros as number) >= ZEROS_MIN &&
    (zeros as number) <= ZEROS_MAX;
  if (!known || kept[1] === 0) return undefined;
  return [...new Array<number>(zeros as number).fill(0), ...kept.slice(1)];
}
