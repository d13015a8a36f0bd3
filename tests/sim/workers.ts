import { type ChildProcess, fork } from "node:child_process";
import process from "node:process";
import { drawPlan } from "./plan.ts";
import { simulate } from "./simulate.ts";
import type { WorldStats } from "./world.ts";

/** What some worlds came to. */
export interface Batch {
  worlds: number;
  failures: { seed: number; message: string }[];
  stats: WorldStats;
  /** Of all that was sent in all of them: runs of the same seeds have the same, on every runtime. */
  hash: number;
}

/** A run stops when so many worlds have failed: more say nothing new. */
const FAILURES_MAX = 10;
/** Seeds that a process is given at a time. */
const SEEDS = 20;
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

/** Lives the worlds of `count` seeds from `seed` on; no more after a failure when `first` is all that is wanted. */
export async function liveSeeds(seed: number, count: number, first = false): Promise<Batch> {
  const batch = emptyBatch();
  for (let each = seed; each < seed + count; each++) {
    batch.worlds++;
    const result = await simulate(drawPlan(each));
    if ("error" in result) batch.failures.push({ seed: each, message: result.error.message });
    else add(batch, { worlds: 0, failures: [], ...result });
    if (first && batch.failures.length > 0) break;
  }
  return batch;
}

/** Lives many worlds, in several processes where that is wanted. */
export async function runWorlds(
  options: { seed: number; runs: number; minutes: number; jobs: number },
  progress: (total: Batch) => void,
): Promise<Batch> {
  const endMs = Date.now() + options.minutes * 60_000;
  const total = emptyBatch();
  let next = 0;
  const take = (): [number, number] | undefined => {
    const over = next >= options.runs || Date.now() >= endMs || total.failures.length >= FAILURES_MAX;
    if (over) return undefined;
    const count = Math.min(SEEDS, options.runs - next);
    next += count;
    return [options.seed + next - count, count];
  };
  const done = (batch: Batch): void => {
    add(total, batch);
    progress(total);
  };
  if (options.jobs === 1) {
    for (let batch = take(); batch !== undefined; batch = take()) done(await liveSeeds(...batch));
  } else {
    await Promise.all(Array.from({ length: options.jobs }, () => drive(take, done)));
  }
  total.failures.sort((a, b) => a.seed - b.seed);
  return total;
}

/** One process, given seeds until there are none. */
function drive(take: () => [number, number] | undefined, done: (batch: Batch) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = fork(process.argv[1]!, [WORKER]);
    const give = (): void => {
      const batch = take();
      if (batch === undefined) child.disconnect();
      else child.send(batch);
    };
    child.on("message", (batch: Batch) => {
      done(batch);
      give();
    });
    child.on("error", reject);
    child.on(
      "exit",
      (code) => code === 0 ? resolve() : reject(new Error(`A worker ended with code ${code}`)),
    );
    give();
  });
}

/** A process's side of it. */
export function work(): void {
  process.on("message", ([seed, count, first]: [number, number, boolean?]) => {
    liveSeeds(seed, count, first).then((batch) => process.send!(batch));
  });
}
