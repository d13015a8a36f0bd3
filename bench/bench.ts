import { isDeepStrictEqual } from "node:util";
import { assert } from "../base/assert.ts";

/** How much time a run may take. */
export interface BenchOptions {
  /** A smoke run: one short round of small cases. Its figures mean nothing. */
  readonly quick: boolean;
  /** The sizes that take minutes as well. */
  readonly full: boolean;
}

/** One file of benchmarks. */
export interface Bench {
  /** How long it takes, in words, where that is minutes. */
  readonly takes?: string;
  /** Yields each table as soon as it is measured. */
  run(options: BenchOptions): AsyncIterable<Table>;
}

/** What several rounds gave. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** A place in a table; `undefined` where nothing was or could be measured. */
export type Cell = string | number | Spread | undefined;

/** One result, for people and as JSON. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  /** What must be known to read the figures. */
  readonly notes?: readonly string[];
}

/** How often to measure. */
export interface Rounds {
  readonly rounds: number;
  /** Rounds before those that count. */
  readonly warmUps: number;
}

const ROUNDS: Rounds = { rounds: 7, warmUps: 2 };
const ROUNDS_QUICK: Rounds = { rounds: 1, warmUps: 0 };
/** How long one case runs in one round: long beside the clock's resolution, short beside the machine's moods. */
const ROUND_MS = 50;
const ROUND_MS_QUICK = 2;

/** The usual number of rounds. */
export function roundsFor({ quick }: BenchOptions): Rounds {
  return quick ? ROUNDS_QUICK : ROUNDS;
}

/** Median, least and most of some figures. */
export function spreadOf(figures: readonly number[]): Spread {
  assert(figures.length > 0, "A spread is of something");
  const sorted = [...figures].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

/**
 * Calls each case once per round, in turn: what else the machine does meets all of them alike. (One
 * after the other on a shared machine, the same ratio swings tenfold.)
 *
 * @returns What each case returned, by its name, without the warm-ups.
 */
export async function interleave<T>(
  cases: Readonly<Record<string, () => T | Promise<T>>>,
  { rounds, warmUps }: Rounds,
): Promise<Record<string, T[]>> {
  const results: Record<string, T[]> = Object.fromEntries(Object.keys(cases).map((name) => [name, []]));
  for (let round = -warmUps; round < rounds; round++) {
    for (const [name, run] of Object.entries(cases)) {
      const result = await run();
      if (round >= 0) results[name]!.push(result);
    }
  }
  return results;
}

/** Nanoseconds per call of `run`, over one round. */
export function timeCalls(run: () => unknown, { quick }: BenchOptions): number {
  const roundMs = quick ? ROUND_MS_QUICK : ROUND_MS;
  const startMs = performance.now();
  let calls = 0;
  let elapsedMs: number;
  let batch = 1;
  do {
    for (let call = 0; call < batch; call++) run();
    calls += batch;
    elapsedMs = performance.now() - startMs;
    if (elapsedMs < roundMs / 16) batch *= 2; // or the clock would be most of what is measured
  } while (elapsedMs < roundMs);
  return elapsedMs * 1e6 / calls;
}

/**
 * Nanoseconds per operation of each case; the first is the baseline. All must return the same result
 * (`undefined` agrees with everything), or one of them is wrong, and so would be the comparison.
 */
export async function compare(
  title: string,
  cases: Readonly<Record<string, () => unknown>>,
  options: BenchOptions,
  { operations = 1, notes = [] }: {
    /** Operations in one call of a case. */
    operations?: number;
    notes?: readonly string[];
  } = {},
): Promise<Table> {
  let expected: unknown;
  for (const [name, run] of Object.entries(cases)) {
    const result = run();
    expected ??= result;
    assert(result === undefined || isDeepStrictEqual(result, expected), `"${name}" gives another result`);
  }
  const timed = Object.entries(cases).map(([name, run]) => {
    return [name, () => timeCalls(run, options) / operations] as const;
  });
  const results = await interleave(Object.fromEntries(timed), roundsFor(options));
  return spreadTable(title, "ns", results, notes);
}

/** A row per case: median, least, most, and the median's ratio to that of the first case. */
export function spreadTable(
  title: string,
  unit: string,
  results: Readonly<Record<string, readonly number[]>>,
  notes: readonly string[] = [],
): Table {
  const spreads = Object.entries(results).map(([name, figures]) => [name, spreadOf(figures)] as const);
  const baseline = spreads[0]?.[1].median ?? NaN;
  return {
    title,
    columns: ["", unit, "min", "max", "ratio"],
    rows: spreads.map(([name, { median, min, max }]) => [name, median, min, max, ratio(median, baseline)]),
    notes,
  };
}

/** "2.50x", "0.0031x". */
export function ratio(figure: number, baseline: number): string {
  const times = figure / baseline;
  return `${times >= 0.1 ? times.toFixed(2) : times.toPrecision(2)}x`;
}

/** Three digits that count, or all of those before the point. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  if (Number.isInteger(value)) return `${value}`;
  return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

function formatCell(cell: Cell): string {
  if (cell === undefined) return "-";
  if (typeof cell === "string") return cell;
  if (typeof cell === "number") return formatNumber(cell);
  const { median, min, max } = cell;
  return `${formatNumber(median)} (${formatNumber(min)}-${formatNumber(max)})`;
}

/** A table as text; the first column is aligned on the left, the others on the right. */
export function formatTable({ title, columns, rows, notes = [] }: Table): string {
  const texts = [columns, ...rows.map((row) => row.map(formatCell))];
  const widths = columns.map((_, at) => Math.max(...texts.map((row) => (row[at] ?? "").length)));
  const lines = texts.map((row) => {
    const cells = widths.map((width, at) =>
      at === 0 ? (row[at] ?? "").padEnd(width) : (row[at] ?? "").padStart(width)
    );
    return `  ${cells.join("  ")}`.trimEnd();
  });
  return [title, ...lines, ...notes.map((note) => `  ${note}`)].join("\n");
}
