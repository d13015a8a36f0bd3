/** One store in a process of its own: `kind_worker.ts KIND FOLDER COUNT fill|reopen`. See ../store.ts. */
import process from "node:process";
import { Prng } from "../../base/random.ts";
import { memoryNow, tell } from "../worker.ts";
import { checkValue, KINDS } from "./kinds.ts";

/** What one store did; times are of all records of a phase. */
export interface Worked {
  readonly missing?: true;
  readonly openMs: number;
  readonly putsPerSecond: number;
  readonly removesPerSecond: number;
  readonly readUs: number;
  readonly rssBytes: number;
}

const BATCH = 256;
const READS_MAX = 20_000;

const [kind, folder, text, phase] = process.argv.slice(2) as [string, string, string, string];
const count = Number(text);
const prng = new Prng(1);
const empty = (await memoryNow()).rss;
const openAtMs = performance.now();
const kept = await KINDS[kind]!(folder, count);
if (kept === undefined) {
  tell({ missing: true });
  process.exit(0);
}
const removed = (index: number): boolean => index % 10 === 3;
if (phase === "reopen") checkValue(kept.get(0), 0);
const openMs = performance.now() - openAtMs;

let putsPerSecond = 0;
if (phase === "fill") {
  const startMs = performance.now();
  for (let from = 0; from < count; from += BATCH) await kept.put(from, Math.min(from + BATCH, count));
  putsPerSecond = count / (performance.now() - startMs) * 1000;
}
const reads = Array.from({ length: Math.min(READS_MAX, count) }, () => prng.below(count))
  .filter((index) => phase === "fill" || !removed(index));
const readAtMs = performance.now();
for (const index of reads) checkValue(kept.get(index), index);
const readUs = (performance.now() - readAtMs) * 1000 / reads.length;
let removesPerSecond = 0;
if (phase === "fill") {
  const going = Array.from({ length: count }, (_, index) => index).filter(removed);
  const startMs = performance.now();
  for (let at = 0; at < going.length; at += BATCH) await kept.remove(going.slice(at, at + BATCH));
  removesPerSecond = going.length / (performance.now() - startMs) * 1000;
}
const rssBytes = (await memoryNow()).rss - empty;
await kept.close();
tell({ openMs, putsPerSecond, removesPerSecond, readUs, rssBytes } satisfies Worked);
process.exit(0);
