import process from "node:process";
import { environment, formatEnvironment } from "../../bench/environment.ts";
import { type Args, readArgs, USAGE } from "./args.ts";
import { Programs } from "./build.ts";
import { readCrash, writeCrash } from "./crash_file.ts";
import { readKept, writeKept } from "./kept.ts";
import { leastOf, ledgerText, type Ran, readLedger, withRun, writeLedger } from "./ledger.ts";
import { type Done, supervise } from "./supervise.ts";
import { everyTarget, type NamedTarget } from "./targets.ts";
import type { Target } from "./target.ts";
import type { Report, ToldCrash } from "./worker.ts";

/** Where crashes go; git ignores it. */
const CRASHES = "crashes";
const everyName = everyTarget.map(({ target }) => target.name);
const EXIT = { clean: 0, crashed: 1, usage: 64 } as const;

async function main(): Promise<number> {
  let args: Args;
  try {
    args = readArgs(process.argv.slice(2), Math.floor(Math.random() * 2 ** 32));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return EXIT.usage;
  }
  if (args.help) {
    console.log(USAGE);
    return EXIT.clean;
  }
  if (args.list) {
    for (const { target } of everyTarget) console.log(`${target.name.padEnd(24)} ${target.about}`);
    return EXIT.clean;
  }
  if (args.ledger) {
    writeLedger(readLedger(), everyName);
    console.log(ledgerText(readLedger(), everyName));
    return EXIT.clean;
  }
  const programs = new Programs();
  try {
    const file = args.replay ?? args.minimize;
    return file === undefined ? await fuzz(args, programs) : await again(args, file, programs);
  } finally {
    programs.dispose();
  }
}

function chosen(names: readonly string[]): NamedTarget[] {
  const unknown = names.filter((name) => !everyTarget.some(({ target }) => target.name.startsWith(name)));
  if (unknown.length > 0) throw new Error(`There is no target "${unknown[0]}": --list prints them`);
  return everyTarget.filter(({ target }) =>
    names.length === 0 || names.some((name) => target.name.startsWith(name))
  );
}

async function fuzz(args: Args, programs: Programs): Promise<number> {
  const at = environment();
  console.log(`${formatEnvironment(at)}; seed ${args.seed}`);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const turns = args.minutes === undefined ? once(args) : leastFirst(args, args.minutes, stop.signal);
  let drawn = args.seed;
  let crashed = 0;
  const work = async (): Promise<void> => {
    for (let turn = turns.next(); turn !== undefined && !stop.signal.aborted; turn = turns.next()) {
      const { each, seconds } = turn;
      const { name } = each.target;
      const seed = drawn;
      if (args.minutes !== undefined) drawn = (drawn + 1) >>> 0; // a target's next turn is another one
      const done = await supervise(
        await programs.make(each.file, name),
        { ...args, seconds, seed, task: "fuzz", kept: readKept(name), input: new Uint8Array(0) },
        process.stdout.isTTY ? (report) => process.stdout.write(`\r${line(name, report)}`) : undefined,
        stop.signal,
      );
      console.log(`${process.stdout.isTTY ? "\r" : ""}${line(name, done)}`);
      for (const crash of done.crashes) {
        const { commit, runtime } = at;
        const path = await writeCrash(
          CRASHES,
          { target: name, ...crash, seed, commit, runtime },
          recordable(each.target, crash),
        );
        console.log(`  ${crash.error.replaceAll("\n", "\n  ")}\n  npm run fuzz -- --replay ${path}`);
      }
      crashed += done.crashes.length;
      turns.ran(name, done);
      if (!args.keep) continue;
      if (done.crashes.length === 0) writeKept(name, done.corpus);
      // Read anew: another run may have written it.
      writeLedger(withRun(readLedger(), name, ranOf(done, at.commit.split(" ")[0]!)), everyName);
    }
  };
  await Promise.all(Array.from({ length: args.jobs }, work));
  return crashed > 0 ? EXIT.crashed : EXIT.clean;
}

/** Whose turn it is, and for how long. */
interface Turns {
  next(): { each: NamedTarget; seconds: number } | undefined;
  ran(name: string, done: Done): void;
}

/** Each target once. */
function once({ targets, seconds }: Args): Turns {
  const waiting = chosen(targets);
  return {
    next() {
      const each = waiting.shift();
      return each === undefined ? undefined : { each, seconds };
    },
    ran() {},
  };
}

/** For so many minutes, the one with least time in the ledger; one that has crashed waits for whoever mends it. */
function leastFirst({ targets, seconds }: Args, minutes: number, stop: AbortSignal): Turns {
  const among = chosen(targets);
  const untilMs = performance.now() + minutes * 60_000;
  const busy = new Set<string>();
  let ledger = readLedger();
  return {
    next() {
      const leftSeconds = (untilMs - performance.now()) / 1_000;
      const name = leastOf(ledger, among.map(({ target }) => target.name), busy);
      if (leftSeconds < 1 || stop.aborted || name === undefined) return undefined;
      busy.add(name);
      const each = among.find(({ target }) => target.name === name)!;
      return { each, seconds: Math.min(seconds, leftSeconds) };
    },
    ran(name, done) {
      ledger = withRun(ledger, name, ranOf(done, ""));
      if (done.crashes.length === 0) busy.delete(name);
    },
  };
}

function ranOf({ progress, seconds, crashes }: Done, commit: string): Ran {
  const { runs: executions, edges, features } = progress;
  const day = new Date().toISOString().slice(0, 10);
  return { seconds, executions, edges, features, crashed: crashes.length > 0, commit, day };
}

/** Runs or shortens the input of a crash file. */
async function again(args: Args, path: string, programs: Programs): Promise<number> {
  const file = readCrash(path);
  const found = everyTarget.find(({ target }) => target.name === file.target);
  if (found === undefined) throw new Error(`There is no target "${file.target}": --list prints them`);
  const task = args.minimize === undefined ? "replay" : "minimize";
  const job = { ...args, task, kept: [], input: file.input } as const;
  const done: Done = await supervise(await programs.make(found.file, file.target), job);
  const crash = done.crashes[0];
  if (crash === undefined) {
    console.log(`${file.target}: ${file.input.length} bytes, no crash`);
    return EXIT.clean;
  }
  console.log(`${file.target}: ${crash.input.length} bytes\n${crash.error}`);
  if (task === "minimize" && crash.input.length < file.input.length) {
    console.log(await writeCrash(CRASHES, { ...file, ...crash }, recordable(found.target, crash)));
  }
  return EXIT.crashed;
}

/** The target, if its stack is worth recording and its input comes to an end without a watchdog too. */
function recordable(target: Target, { key }: ToldCrash): Target | undefined {
  return target.name.startsWith("stack/") && /^(Hangs|Takes|ExcessError)/.exec(key) === null
    ? target
    : undefined;
}

function line(name: string, { progress, seconds }: Report): string {
  const { runs, edges, features, corpus, crashes } = progress;
  const rate = seconds > 0 ? Math.round(runs / seconds) : 0;
  return `${name.padEnd(24)} ${`${runs}`.padStart(9)} runs ${`${rate}`.padStart(7)}/s ${
    `${edges}`.padStart(5)
  } edges ` +
    `${`${features}`.padStart(6)} features ${`${corpus}`.padStart(5)} inputs ${crashes} crashes`;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = EXIT.usage;
}
