import process from "node:process";
import { environment, formatEnvironment } from "../../bench/environment.ts";
import { type Args, readArgs, USAGE } from "./args.ts";
import { Programs } from "./build.ts";
import { readCrash, writeCrash } from "./crash_file.ts";
import { readKept, writeKept } from "./kept.ts";
import { type Done, supervise } from "./supervise.ts";
import { everyTarget, type NamedTarget } from "./targets.ts";
import type { Target } from "./target.ts";
import type { Report, ToldCrash } from "./worker.ts";

/** Where crashes go; git ignores it. */
const CRASHES = "crashes";
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
  const waiting = chosen(args.targets);
  let crashed = 0;
  const next = async (): Promise<void> => {
    for (let each = waiting.shift(); each !== undefined; each = waiting.shift()) {
      const { name } = each.target;
      const done = await supervise(
        await programs.make(each.file, name),
        { ...args, task: "fuzz", kept: readKept(name), input: new Uint8Array(0) },
        process.stdout.isTTY ? (report) => process.stdout.write(`\r${line(name, report)}`) : undefined,
      );
      console.log(`${process.stdout.isTTY ? "\r" : ""}${line(name, done)}`);
      for (const crash of done.crashes) {
        const { seed } = args;
        const { commit, runtime } = at;
        const path = await writeCrash(
          CRASHES,
          { target: name, ...crash, seed, commit, runtime },
          recordable(each.target, crash),
        );
        console.log(`  ${crash.error.replaceAll("\n", "\n  ")}\n  npm run fuzz -- --replay ${path}`);
      }
      crashed += done.crashes.length;
      if (args.keep && done.crashes.length === 0) writeKept(name, done.corpus);
    }
  };
  await Promise.all(Array.from({ length: args.jobs }, next));
  return crashed > 0 ? EXIT.crashed : EXIT.clean;
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
