import { type ChildProcess, fork, type ForkOptions } from "node:child_process";
import process from "node:process";
import { setImmediate } from "node:timers/promises";
import { drawPlan } from "./plan.ts";
import { simulate } from "./simulate.ts";
import type { WorldStats } from "./world.ts";

/** A world in which something happened that may not happen. */
export interface Failure {
  seed: number;
  message: string;
  /** Its process ended or did not come back, so it is not lived again to be told. */
  lost?: true;
}

/** What some worlds came to. */
export interface Batch {
  worlds: number;
  failures: Failure[];
  stats: WorldStats;
  /** Of all that was sent in all of them: runs of the same seeds have the same, on every runtime. */
  hash: number;
}

/** A run stops when so many worlds have failed: more say nothing new. */
const FAILURES_MAX = 10;
/** A world takes a fortieth of a second; one that takes so much longer goes round in circles. */
const WORLD_MS = 180_000;
const WORKER = "--worker";

export function isWorker(): boolean {
  return process.argv.includes(WORKER);
}

function emptyBatch(): Batch {
  return {
    worlds: 0,
    failures: [],
    stats: {
      connections: 0,
      excused: 0,
      broken: 0,
      bytes: 0,
      packets: 0,
      suspends: 0,
      restores: 0,
      kills: 0,
      ms: 0,
    },
    hash: 0,
  };
}

function add(total: Batch, batch: Batch): void {
  total.worlds += batch.worlds;
  total.hash = (total.hash ^ batch.hash) >>> 0; // in whatever order batches come
  total.failures.push(...batch.failures);
  for (const name of Object.keys(total.stats) as (keyof WorldStats)[]) total.stats[name] += batch.stats[name];
}

/** Lives the world of a seed. */
export async function liveSeed(seed: number): Promise<Batch> {
  const batch = emptyBatch();
  const result = await simulate(drawPlan(seed));
  if ("error" in result) batch.failures.push({ seed, message: result.error.message });
  else add(batch, { worlds: 0, failures: [], ...result });
  batch.worlds = 1;
  return batch;
}

/**
 * Lives many worlds, in processes: one that a world ends, or keeps, costs that world only. Without processes
 * (`jobs` 0) here.
 */
export async function runWorlds(
  options: { seed: number; runs: number; minutes: number; jobs: number },
  progress: (total: Batch, world: Batch) => void,
  signal?: AbortSignal,
): Promise<Batch> {
  const endMs = Date.now() + options.minutes * 60_000;
  const total = emptyBatch();
  let next = 0;
  const take = (): number | undefined => {
    const over = next >= options.runs || Date.now() >= endMs || total.failures.length >= FAILURES_MAX ||
      signal?.aborted === true;
    return over ? undefined : options.seed + next++;
  };
  const done = (world: Batch): void => {
    add(total, world);
    progress(total, world);
  };
  if (options.jobs === 0) {
    for (let seed = take(); seed !== undefined; seed = take()) {
      done(await liveSeed(seed));
      await setImmediate(); // a signal is heard between two worlds
    }
  } else {
    await Promise.all(Array.from({ length: options.jobs }, () => drive(process.argv[1]!, {}, take, done)));
  }
  total.failures.sort((a, b) => a.seed - b.seed);
  return total;
}

/** Processes one after the other, each given seeds until there are none or a world ends it. */
export async function drive(
  main: string,
  options: ForkOptions,
  take: () => number | undefined,
  done: (world: Batch) => void,
): Promise<void> {
  for (let seed = take(); seed !== undefined; seed = take()) {
    const lost = await driveOne(fork(main, [WORKER], options), seed, take, done);
    if (lost === undefined) return;
    done({ ...emptyBatch(), worlds: 1, failures: [{ ...lost, lost: true }] });
  }
}

/** One process, from its first seed on; says which world it was lost with, if it was. */
function driveOne(
  child: ChildProcess,
  first: number,
  take: () => number | undefined,
  done: (world: Batch) => void,
): Promise<Failure | undefined> {
  return new Promise((resolve, reject) => {
    let seed: number | undefined = first;
    let stuck = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const give = (): void => {
      clearTimeout(timer);
      if (seed === undefined) return child.disconnect();
      timer = setTimeout(() => {
        stuck = true;
        child.kill("SIGKILL");
      }, WORLD_MS);
      child.send(seed);
    };
    child.on("message", (world: Batch) => {
      done(world);
      seed = take();
      give();
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      if (seed === undefined) return resolve(undefined);
      const message = stuck
        ? `the world did not end within ${WORLD_MS / 1000} s`
        : `the process ended with ${signal ?? `code ${code}`}`;
      resolve({ seed, message });
    });
    give();
  });
}

/** A process's side of it. */
export function work(): void {
  process.on("SIGINT", () => {}); // the terminal tells everybody; who asked for worlds decides
  process.on("disconnect", () => process.exit(0)); // also when who asked is gone
  process.on("message", (seed: number) => {
    liveSeed(seed).then((world) => process.send!(world));
  });
}
