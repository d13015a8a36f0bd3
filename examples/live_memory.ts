import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Collect = (() => void) | undefined;
const globals = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
const collect: Collect = globals.Bun !== undefined ? () => globals.Bun!.gc(true) : globals.gc ?? exposed();

/** V8's collector, for a program that was not started with `--expose-gc`. */
function exposed(): Collect {
  try {
    setFlagsFromString("--expose-gc");
    return runInNewContext("gc") as () => void;
  } catch {
    return undefined; // the figures then contain some garbage
  }
}

/** What this process uses after garbage collection: objects and buffers alive, and resident memory, in bytes. */
export async function liveMemory(): Promise<{ liveBytes: number; rssBytes: number }> {
  for (let round = 0; round < 3; round++) {
    collect?.();
    await new Promise((resolve) => setTimeout(resolve, 20)); // finalizers run between turns
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { liveBytes: heapUsed + external, rssBytes: rss };
}
