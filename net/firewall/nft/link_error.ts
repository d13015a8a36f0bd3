import type { StatementPlace } from "./read/places.ts";

/**
 * Rules that cannot work as they stand. `place` says where: table, chain and rule, or set, and the line, or file, line and
 * column, if there is one.
 */
export class LinkError extends Error {
  override name = "LinkError";
  readonly place: string;
  /** The line of the file, counted from 1; undefined where the rules did not come from one. */
  readonly line: number | undefined;
  /** The column of the statement, counted from 1; undefined as well where more than one statement is wrong. */
  readonly column: number | undefined;
  readonly file: string | undefined;

  constructor(
    place: string,
    line: number | undefined,
    message: string,
    options?: ErrorOptions & { readonly at?: StatementPlace | undefined },
  ) {
    const at = options?.at;
    const where = at !== undefined
      ? `${at.file}:${at.line}:${at.column}: ${place}`
      : `${place}${line === undefined ? "" : `, line ${line}`}`;
    super(`Cannot use rules: ${where}: ${message}`, options);
    this.place = place;
    this.line = at?.line ?? line;
    this.column = at?.column;
    this.file = at?.file;
  }
}
