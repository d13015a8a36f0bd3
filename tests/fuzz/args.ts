import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";

export const USAGE = `npm run fuzz -- [TARGET...] [options]

Coverage-guided fuzzing of the library's decoders and of the whole stack. Without a TARGET all of them; a
TARGET may be the beginning of names ("wire/").

  --seconds N      how long each target is fuzzed (default 10)
  --minutes N      how long all of it may take: a minute (or --seconds) at a time for the target that has had least
                   time by the ledger, on all cores (or --jobs); Ctrl-C ends it early and loses nothing
  --runs N         how many executions each target gets instead; the same seed then finds the same
  --seed N         where chance starts (default: drawn, and printed)
  --jobs N         targets at a time (default 1; with --minutes as many as there are cores)
  --list           the targets
  --ledger         how long each has been fuzzed; written to docs/fuzzing.md as well
  --keep           write what reaches most with least to tests/fuzz/corpus/, for the tests and the next run, and
                   time and executions to tests/fuzz/ledger.json and docs/fuzzing.md
  --replay FILE    run the input of a crash file once
  --minimize FILE  make the input of a crash file smaller
  --help           this
`;

/** A command line of `npm run fuzz`. */
export interface Args {
  readonly targets: readonly string[];
  readonly seconds: number;
  /** Of the whole run; `undefined`: each target once. */
  readonly minutes: number | undefined;
  readonly runs: number;
  readonly seed: number;
  readonly jobs: number;
  readonly list: boolean;
  readonly ledger: boolean;
  readonly keep: boolean;
  readonly help: boolean;
  readonly replay: string | undefined;
  readonly minimize: string | undefined;
}

/** @throws {Error} When it makes no sense, saying why. */
export function readArgs(argv: readonly string[], drawnSeed: number): Args {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      seconds: { type: "string" },
      minutes: { type: "string" },
      runs: { type: "string" },
      seed: { type: "string" },
      jobs: { type: "string" },
      list: { type: "boolean", default: false },
      ledger: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
      replay: { type: "string" },
      minimize: { type: "string" },
    },
  });
  const whole = (name: "seconds" | "minutes" | "runs" | "seed" | "jobs", fallback: number): number => {
    const text = values[name];
    if (text === undefined) return fallback;
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 0) throw new Error(`Cannot take "${text}" for --${name}`);
    return value;
  };
  const runs = whole("runs", Infinity);
  const minutes = values.minutes === undefined ? undefined : whole("minutes", 0);
  if (minutes !== undefined && runs < Infinity) throw new Error("Cannot take both --minutes and --runs");
  return {
    targets: positionals,
    seconds: whole("seconds", runs < Infinity ? Infinity : minutes === undefined ? 10 : 60),
    minutes,
    runs,
    seed: whole("seed", drawnSeed),
    jobs: Math.max(1, whole("jobs", minutes === undefined ? 1 : availableParallelism())),
    list: values.list,
    ledger: values.ledger,
    keep: values.keep,
    help: values.help,
    replay: values.replay,
    minimize: values.minimize,
  };
}
