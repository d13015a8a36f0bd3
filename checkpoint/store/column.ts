import { CborError } from "../image/cbor_head.ts";

/** Many int32 in as few bytes as the largest distance from the least of them needs: `column` in store.cddl. */
export type Column = readonly [base: number, above: Uint8Array];

/** The column of `count` values, the first at `values[from]`, one in `step`. */
export function packColumn(values: Int32Array, from: number, step: number, count: number): Column {
  let least = count > 0 ? values[from]! : 0;
  let most = least;
  for (let at = from, left = count; left > 0; at += step, left--) {
    const value = values[at]!;
    if (value < least) least = value;
    else if (value > most) most = value;
  }
  const range = most - least;
  const width = range === 0 ? 0 : range < 0x100 ? 1 : range < 0x1_0000 ? 2 : range < 0x100_0000 ? 3 : 4;
  const above = new Uint8Array(width * count);
  for (let at = from, to = 0; to < above.length; at += step) {
    let value = values[at]! - least; // below 2^32: the shifts below take it modulo that
    for (let byte = 0; byte < width; byte++) {
      above[to++] = value;
      value >>>= 8;
    }
  }
  return [least, above];
}

/**
 * Puts the `count` values of a column into `into`, from its start.
 *
 * @throws {CborError} When it is no column of so many.
 */
export function unpackColumn(column: unknown, count: number, into: Int32Array): void {
  if (!Array.isArray(column) || column.length !== 2) throw new CborError(0, "A column has a base and bytes");
  const [base, above] = column as [unknown, unknown];
  if (typeof base !== "number" || (base | 0) !== base) throw new CborError(0, "A column's base is an int32");
  if (!(above instanceof Uint8Array)) throw new CborError(0, "A column has bytes");
  const { length } = above;
  switch (count === 0 ? 0 : length / count) {
    case 0:
      if (length === 0) return void into.fill(base, 0, count);
      break;
    case 1:
      for (let at = 0; at < count; at++) into[at] = base + above[at]!;
      return;
    case 2:
      for (let at = 0; at < count; at++) into[at] = base + (above[2 * at]! | (above[2 * at + 1]! << 8));
      return;
    case 3:
      for (let at = 0, from = 0; at < count; at++, from += 3) {
        into[at] = base + (above[from]! | (above[from + 1]! << 8) | (above[from + 2]! << 16));
      }
      return;
    case 4:
      for (let at = 0, from = 0; at < count; at++, from += 4) {
        const low = above[from]! | (above[from + 1]! << 8) | (above[from + 2]! << 16);
        into[at] = (base + (low | (above[from + 3]! << 24))) | 0;
      }
      return;
  }
  throw new CborError(0, `A column of ${count} values has ${length} bytes`);
}
