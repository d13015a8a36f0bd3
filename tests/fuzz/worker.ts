/** What runs in a fuzzing thread: bundled with one target and instrumented by build.ts. @module */
import { parentPort, workerData } from "node:worker_threads";
import { crashKey, execute, Fuzzer, type Progress } from "./fuzzer.ts";
import { minimize } from "./minimize.ts";
import type { Target } from "./target.ts";

/** What the thread is to do. */
export interface Job {
  /** Fuzz until `runs` or `seconds` are over; run `input` once; or make `input`, which crashes, smaller. */
  readonly task: "fuzz" | "replay" | "minimize";
  readonly seed: number;
  readonly runs: number;
  readonly seconds: number;
  readonly kept: readonly Uint8Array[];
  readonly input: Uint8Array<ArrayBuffer>;
  /** Executions, the length of the input at hand, whether to stop, and that input: shared with the watchdog. */
  readonly shared: SharedArrayBuffer;
}

/** A crash on its way between threads. */
export interface ToldCrash {
  readonly input: Uint8Array<ArrayBuffer>;
  readonly error: string;
  readonly key: string;
}

/** What the thread says. */
export type Report =
  | { readonly kind: "progress"; readonly progress: Progress; readonly seconds: number }
  | {
    readonly kind: "done";
    readonly progress: Progress;
    readonly seconds: number;
    readonly corpus: readonly Uint8Array[];
    readonly crashes: readonly ToldCrash[];
  };

/** Bytes of `Job.shared` in front of the input. */
export const SHARED_HEAD_BYTES = 12;
/** A kept corpus has at most so many bytes. */
const KEPT_BYTES_MAX = 12_000;
/** Between two words of progress. */
const PROGRESS_MS = 1_000;

function told(input: Uint8Array<ArrayBuffer>, error: unknown, key = crashKey(error)): ToldCrash {
  return { input, key, error: error instanceof Error ? error.stack ?? error.message : String(error) };
}

/** Does the job that the thread was started with. */
export function work(target: Target): void {
  void run(target, workerData as Job).then((report) => parentPort!.postMessage(report));
}

async function run(target: Target, job: Job): Promise<Report> {
  const words = new Int32Array(job.shared, 0, 3);
  const room = new Uint8Array(job.shared, SHARED_HEAD_BYTES);
  const startedMs = performance.now();
  const seconds = (): number => (performance.now() - startedMs) / 1000;
  const fuzzer = new Fuzzer(target, job.seed);
  fuzzer.watch = (input) => {
    words[0]!++;
    words[1] = input.length;
    room.set(input.subarray(0, room.length));
  };
  const crashes: ToldCrash[] = [];
  if (job.task === "fuzz") {
    let saidMs = startedMs;
    await fuzzer.seed([...target.seeds(), ...job.kept]);
    await fuzzer.run(job.runs, () => {
      const nowMs = performance.now();
      if (nowMs - saidMs > PROGRESS_MS) {
        saidMs = nowMs;
        const report: Report = { kind: "progress", progress: fuzzer.progress, seconds: seconds() };
        parentPort!.postMessage(report);
      }
      return seconds() > job.seconds || Atomics.load(words, 2) !== 0;
    });
    const took = seconds();
    for (const { input, error, key } of fuzzer.crashes.values()) {
      const least = await minimize(target, input, key);
      crashes.push(told(least, (await execute(target, least))?.error ?? error, key));
    }
    const corpus = fuzzer.corpus.minimal(KEPT_BYTES_MAX);
    return { kind: "done", progress: fuzzer.progress, seconds: took, corpus, crashes };
  }
  fuzzer.watch(job.input);
  const crash = await execute(target, job.input);
  if (crash !== undefined) {
    const least = job.task === "minimize" ? await minimize(target, job.input, crash.key) : job.input;
    crashes.push(told(least, (await execute(target, least))?.error ?? crash.error, crash.key));
  }
  return { kind: "done", progress: fuzzer.progress, seconds: seconds(), corpus: [], crashes };
}
