import { Worker } from "node:worker_threads";
import type { Job, Report, ToldCrash } from "./worker.ts";
import { SHARED_HEAD_BYTES } from "./worker.ts";

/** An execution that takes longer hangs where no edge is counted. A busy machine takes long, too. */
const HANG_MS = 30_000;
/** Heap of a thread. What is over it crashes with the input at hand. */
const HEAP_MB = 1_024;
/** The longest input that the watchdog can save. */
const INPUT_BYTES_MAX = 1 << 16;

export type Done = Extract<Report, { kind: "done" }>;

/**
 * Runs a job in a thread of its own, and looks after it: a thread that hangs or runs out of memory ends, and
 * its input is a crash. What fuzzes comes to its end early when `stop` says so.
 */
export function supervise(
  program: string,
  job: Omit<Job, "shared">,
  progress: (report: Report) => void = () => {},
  stop?: AbortSignal,
): Promise<Done> {
  const shared = new SharedArrayBuffer(SHARED_HEAD_BYTES + INPUT_BYTES_MAX);
  const words = new Int32Array(shared, 0, 3);
  const onStop = (): void => void Atomics.store(words, 2, 1);
  if (stop?.aborted) onStop();
  stop?.addEventListener("abort", onStop);
  const done = new Promise<Done>((resolve, reject) => {
    const worker = new Worker(program, {
      workerData: { ...job, shared } satisfies Job,
      execArgv: ["--enable-source-maps"],
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    let last: Report | undefined;
    let runs = -1;
    let sinceMs = performance.now();
    const died = (key: string): void => {
      clearInterval(timer);
      void worker.terminate();
      const input = new Uint8Array(shared, SHARED_HEAD_BYTES, words[1]).slice() as Uint8Array<ArrayBuffer>;
      const crash: ToldCrash = { input: new Uint8Array(input), error: key, key };
      const none = { runs: words[0]!, edges: 0, features: 0, corpus: 0, crashes: 1 };
      resolve({
        kind: "done",
        progress: { ...last?.progress ?? none, runs: words[0]! },
        seconds: last?.seconds ?? 0,
        corpus: [],
        crashes: [crash],
      });
    };
    const timer = setInterval(() => {
      if (words[0] !== runs) {
        runs = words[0]!;
        sinceMs = performance.now();
      } else if (runs > 0 && job.task !== "minimize" && performance.now() - sinceMs > HANG_MS) {
        died("Hangs");
      }
    }, 1_000);
    worker.on("message", (report: Report) => {
      last = report;
      if (report.kind === "progress") return progress(report);
      clearInterval(timer);
      resolve(report);
    });
    worker.on("error", (error: Error & { code?: string }) => {
      if (words[0]! > 0 && error.code === "ERR_WORKER_OUT_OF_MEMORY") return died("Takes too much memory");
      clearInterval(timer);
      reject(error);
    });
  });
  return done.finally(() => stop?.removeEventListener("abort", onStop));
}
