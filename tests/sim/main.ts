import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Recorder } from "../../checkpoint/replay/recorder.ts";
import { environment, formatEnvironment } from "../../bench/environment.ts";
import { CANARIES, canariesOf, release } from "./canaries.ts";
import { HELP, readOptions, type SimOptions } from "./options.ts";
import { drawPlan, type Plan } from "./plan.ts";
import { simulate } from "./simulate.ts";
import { shrink } from "./shrink.ts";
import { type Batch, isWorker, runWorlds, work } from "./workers.ts";
import { World } from "./world.ts";

/** Without a terminal a line so often. */
const TELL_MS = 60_000;

if (isWorker()) work();
else await main();

async function main(): Promise<void> {
  let options: SimOptions;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    process.exitCode = 2;
    return;
  }
  if (options.help) return console.log(HELP);
  if (options.listCanaries) {
    for (const { name, what, runsMax } of CANARIES) console.log(`${name}  within ${runsMax}: ${what}`);
    return;
  }
  console.error(formatEnvironment(environment()));
  if (options.plan !== undefined) {
    let plan: Plan;
    try {
      plan = readPlan(options.plan);
    } catch (error) {
      console.error(`sim: ${(error as Error).message}`);
      process.exitCode = 2;
      return;
    }
    return await livePlan(plan, options);
  }
  if (options.attack > 0) return await attack(options);
  if (options.story) return await tellStories(options);
  if (options.canaries !== undefined) return await releaseCanaries(options);
  await liveMany(options);
}

/** Nobody off the path may wake or end a sleeper. */
async function attack({ seed, attack: packets, json }: SimOptions): Promise<void> {
  console.error(`seed ${seed}`);
  const { blindAttack, tellBlind } = await import("./blind.ts"); // not for the worlds, nor for canaries' copies
  const report = await blindAttack({ packets, seed });
  if (json) console.log(JSON.stringify({ seed, environment: environment(), ...report }));
  else console.log(tellBlind(report));
  process.exitCode = report.restores + report.resets > 0 ? 1 : 0;
}

async function liveMany(options: SimOptions): Promise<void> {
  const { seed } = options;
  console.error(`seed ${seed}`);
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort()); // what was lived counts; a second one ends it at once
  const total = await runWorlds(options, progressOf(options), stop.signal);
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  const { worlds, failures, stats } = total;
  const numbers = Object.entries(stats).filter(([name]) => name !== "ms")
    .map(([name, value]) => `${value} ${name}`).join(", ");
  console.error(`${worlds} worlds, ${(stats.ms / 86_400_000).toFixed(0)} days: ${numbers}`);
  for (const failure of failures) {
    console.error(`\nseed ${failure.seed}: ${failure.message}`);
    const plan = drawPlan(failure.seed);
    if (failure.lost) console.error(`As it was drawn: npm run sim -- --plan ${writePlan(plan, options.out)}`);
    else await report(plan, options);
  }
  if (options.json) console.log(JSON.stringify({ seed, environment: environment(), ...total }));
  console.log(`sim: ${worlds - failures.length} passed, ${failures.length} failed`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}

/** Tells each failure at once, and how far it is. */
function progressOf(options: SimOptions): (total: Batch, world: Batch) => void {
  const of = options.runs < Infinity ? ` of ${options.runs}` : "";
  const { isTTY } = process.stderr;
  let toldAtMs = Date.now();
  return ({ worlds, failures }, { failures: [failure] }) => {
    if (failure !== undefined) {
      console.error(`${isTTY ? "\r\x1b[K" : ""}seed ${failure.seed} fails: ${failure.message}`);
    }
    const line = `${worlds}${of} worlds, ${failures.length} failed`;
    if (isTTY) process.stderr.write(`\r${line}\x1b[K`);
    else if (Date.now() - toldAtMs >= TELL_MS) {
      toldAtMs = Date.now();
      console.error(line);
    }
  };
}

/** The story of a failure, as short as it gets, and a file to live it again. */
async function report(plan: Plan, options: SimOptions): Promise<void> {
  const failed = await simulate(plan);
  if (!("error" in failed)) {
    console.error("It lives when it is run alone: what made it fail is outside of the world");
    return;
  }
  const { plan: least, failed: last } = options.shrink ? await shrink(plan, failed) : { plan, failed };
  const file = writePlan(least, options.out);
  const recordings = await record(least, options.out);
  console.error(last.story.slice(-60).join("\n"));
  console.error(last.error.stack);
  console.error(`${least.steps.length} of ${plan.steps.length} steps. Again: npm run sim -- --plan ${file}`);
  if (recordings.length > 0) {
    console.error(`Each stack by itself: torpor replay FILE, with ${recordings.join(", ")}`);
  }
}

function writePlan(plan: Plan, folder: string): string {
  const file = join(folder, `sim-failure-${plan.seed}.json`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, `${JSON.stringify(plan, null, 1)}\n`);
  return file;
}

/** Lives a plan once more and writes what each stack of ours was asked, told and sent. */
async function record(plan: Plan, folder: string): Promise<string[]> {
  const recorders = new Map<string, Recorder>();
  const world = new World(plan, (name) => {
    const recorder = new Recorder({ about: { what: `sim-failure-${plan.seed} ${name}`, seed: plan.seed } });
    recorders.set(name, recorder);
    return recorder;
  });
  await world.live().catch(() => {}); // as before
  return [...recorders].map(([name, recorder]) => {
    const file = join(folder, `sim-failure-${plan.seed}-${name}.replay`);
    writeFileSync(file, recorder.bytes());
    return file;
  });
}

/** @throws {Error} When the file cannot be read, or holds no plan. */
function readPlan(path: string): Plan {
  let plan: Partial<Plan> | null;
  try {
    plan = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Error(`Cannot read plan "${path}": ${(error as Error).message}`, { cause: error });
  }
  if (typeof plan?.seed === "number" && Array.isArray(plan.steps)) return plan as Plan;
  throw new Error(`Cannot read plan "${path}": it is none: it has no seed and steps`);
}

async function livePlan(plan: Plan, options: SimOptions): Promise<void> {
  const failed = await tell(plan);
  if (options.json) console.log(JSON.stringify({ seed: plan.seed, failed: failed?.message ?? null }));
  console.log(`sim: ${failed === undefined ? "1 passed, 0 failed" : "0 passed, 1 failed"}`);
  process.exitCode = failed === undefined ? 0 : 1;
}

async function tellStories(options: SimOptions): Promise<void> {
  let failures = 0;
  const runs = Math.min(options.runs, 1_000);
  for (let run = 0; run < runs; run++) if (await tell(drawPlan(options.seed + run)) !== undefined) failures++;
  console.log(`sim: ${runs - failures} passed, ${failures} failed`);
  process.exitCode = failures > 0 ? 1 : 0;
}

/** Lives a plan and tells every step and segment. */
async function tell(plan: Plan): Promise<Error | undefined> {
  const world = new World(plan);
  world.judge.onSegment = (
    who,
    { sourcePort, destinationPort, flags, sequence, acknowledgment, window, data },
  ) =>
    world.tell(
      `    ${who}: ${sourcePort} > ${destinationPort} ${flags} ${sequence >>> 0}+${data.length} ` +
        `ack ${acknowledgment >>> 0} win ${window}`,
    );
  let failure: Error | undefined;
  try {
    await world.live();
  } catch (error) {
    failure = error as Error;
  }
  console.error(`seed ${plan.seed}\n${world.story.join("\n")}`);
  if (failure !== undefined) console.error(failure.stack);
  return failure;
}

async function releaseCanaries(options: SimOptions): Promise<void> {
  const canaries = canariesOf(options.canaries!, options.seed);
  console.error(`seed ${options.seed}, canaries: ${canaries.map(({ name }) => name).join(", ")}`);
  const results: { name: string; caughtAfter: number | undefined; by: string }[] = [];
  for (const canary of canaries) {
    const result = await release(canary, options.seed, Math.max(1, options.jobs));
    results.push({ name: canary.name, ...result });
    console.error(
      result.caughtAfter === undefined
        ? `LIVES   ${canary.name}: not caught in ${canary.runsMax} worlds`
        : `caught  ${canary.name} in ${result.caughtAfter} of ${canary.runsMax} worlds: ${result.by}`,
    );
  }
  const lives = results.filter(({ caughtAfter }) => caughtAfter === undefined).length;
  if (options.json) console.log(JSON.stringify({ seed: options.seed, environment: environment(), results }));
  console.log(`canaries: ${results.length - lives} passed, ${lives} failed`);
  process.exitCode = lives > 0 ? 1 : 0;
}
