/** How long each target has been fuzzed, over all runs that were kept: ledger.json, and the table in docs/fuzzing.md. @module */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** What one target has been through since it last crashed: a crash begins its time anew. */
export interface Account {
  /** Of one thread each, however busy the machine was. */
  readonly seconds: number;
  readonly executions: number;
  /** The most that one run has reached. */
  readonly edges: number;
  readonly features: number;
  /** The commits of its first and its last run, and the day of the last. */
  readonly from: string;
  readonly to: string;
  readonly day: string;
}

/** By target. */
export type Ledger = Readonly<Record<string, Account>>;

/** One run of a target. */
export interface Ran {
  readonly seconds: number;
  readonly executions: number;
  readonly edges: number;
  readonly features: number;
  readonly crashed: boolean;
  readonly commit: string;
  readonly day: string;
}

/** What is asked for: so long without a crash, each. */
export const WANTED_SECONDS = 3_600;
const BEGIN = "<!-- printed from tests/fuzz/ledger.json -->";
const END = "<!-- until here -->";

const LEDGER = fileURLToPath(new URL("./ledger.json", import.meta.url));
const PAGE = fileURLToPath(new URL("../../docs/fuzzing.md", import.meta.url));

export function readLedger(): Ledger {
  return existsSync(LEDGER) ? JSON.parse(readFileSync(LEDGER, "utf8")) as Ledger : {};
}

/** The ledger with a run more. */
export function withRun(ledger: Ledger, name: string, ran: Ran): Ledger {
  const { crashed, commit, day, ...counts } = ran;
  const before = crashed ? undefined : ledger[name];
  const account: Account = {
    seconds: crashed ? 0 : Math.round(((before?.seconds ?? 0) + counts.seconds) * 10) / 10,
    executions: crashed ? 0 : (before?.executions ?? 0) + counts.executions,
    edges: Math.max(before?.edges ?? 0, counts.edges),
    features: Math.max(before?.features ?? 0, counts.features),
    from: before?.from ?? commit,
    to: commit,
    day,
  };
  return Object.fromEntries(
    Object.entries({ ...ledger, [name]: account }).sort(([a], [b]) => a < b ? -1 : 1),
  );
}

/** Whose turn it is: the one with least time among those that are not `busy`. */
export function leastOf(
  ledger: Ledger,
  names: readonly string[],
  busy: ReadonlySet<string>,
): string | undefined {
  const free = names.filter((name) => !busy.has(name));
  const secondsOf = (name: string): number => ledger[name]?.seconds ?? 0;
  return free.reduce<string | undefined>(
    (least, name) => least === undefined || secondsOf(name) < secondsOf(least) ? name : least,
    undefined,
  );
}

/** Writes the ledger, and its table into the page. */
export function writeLedger(ledger: Ledger, names: readonly string[]): void {
  writeFileSync(LEDGER, `${JSON.stringify(ledger, null, 2)}\n`);
  writeFileSync(PAGE, pageWith(readFileSync(PAGE, "utf8"), ledgerText(ledger, names)));
}

/** The page with `text` in the place that is the ledger's. */
export function pageWith(page: string, text: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`docs/fuzzing.md has no "${BEGIN}" before "${END}"`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${page.slice(end)}`;
}

/** The ledger in words: how many have their hour, and a row for each, as `deno fmt` wants it. */
export function ledgerText(ledger: Ledger, names: readonly string[]): string {
  const accounts = [...names].sort().map((name) => ({ name, ...ledger[name] }));
  const done = accounts.filter(({ seconds = 0 }) => seconds >= WANTED_SECONDS).length;
  const sum = (of: "seconds" | "executions"): number =>
    accounts.reduce((all, account) => all + (account[of] ?? 0), 0);
  const rows = accounts.map((
    { name, seconds = 0, executions = 0, edges = 0, features = 0, from, to, day },
  ) => [
    name,
    timeText(seconds),
    ...[executions, edges, features].map((count) => count.toLocaleString("en-US")),
    from === undefined ? "" : from === to ? from : `${from} to ${to}`,
    day ?? "",
  ]);
  rows.push(["all", timeText(sum("seconds")), sum("executions").toLocaleString("en-US"), "", "", "", ""]);
  const least = accounts.reduce((all, { seconds = 0 }) => Math.min(all, seconds), Infinity);
  return [
    `${done} of ${accounts.length} targets have had their hour without a crash; the least is ${
      timeText(least)
    }.`,
    "",
    ...table(["target", "time", "executions", "edges", "features", "commits", "last"], rows),
  ].join("\n");
}

/** Text is to the left, numbers to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const right = [1, 2, 3, 4];
  const widths = head.map((_, at) => Math.max(3, ...[head, ...rows].map((row) => row[at]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${
      row.map((cell, at) => right.includes(at) ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!)).join(
        " | ",
      )
    } |`;
  const rule = widths.map((width, at) =>
    right.includes(at) ? `${"-".repeat(width - 1)}:` : "-".repeat(width)
  );
  return [line(head), `| ${rule.join(" | ")} |`, ...rows.map(line)];
}

/** `1 h 05 min`, `12 min`, `40 s`. */
function timeText(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${`${minutes % 60}`.padStart(2, "0")} min`;
}
