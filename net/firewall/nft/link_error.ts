/** Rules that cannot work as they stand. `place` says where: table, chain and rule, or set, and the line if there is one. */
export class LinkError extends Error {
  override name = "LinkError";
  readonly place: string;
  /** The line of the file, counted from 1; undefined where the rules did not come from one. */
  readonly line: number | undefined;

  constructor(place: string, line: number | undefined, message: string, options?: ErrorOptions) {
    super(`Cannot use rules: ${place}${line === undefined ? "" : `, line ${line}`}: ${message}`, options);
    this.place = place;
    this.line = line;
  }
}
