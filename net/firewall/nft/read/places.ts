/** Where a statement of a text stands. */
export interface StatementPlace {
  /** The name of the file. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

/** Who can say of its places which line and column they are. */
export interface PlacedSource {
  placeOf(at: number): StatementPlace;
}

const PLACES = new WeakMap<object, { readonly source: PlacedSource; readonly at: readonly number[] }>();

/**
 * Remembers where the statements of a rule stand, beside the rule: what is wrong with it may come to light when rules are
 * linked, and what was read is data that says nothing of files.
 */
export function notePlaces(expr: readonly object[], source: PlacedSource, at: readonly number[]): void {
  PLACES.set(expr, { source, at });
}

/** Where a statement of a rule stood; undefined where the rule was not read from a text. */
export function statementPlace(expr: readonly object[], statement: number): StatementPlace | undefined {
  const places = PLACES.get(expr);
  const at = places?.at[statement];
  return at === undefined ? undefined : places!.source.placeOf(at);
}
