import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Finding, reasonOf } from "./finding.ts";

/** Commits that are timed. */
const SYNCS = 32;
const RECORD_BYTES = 4_096;
/** A commit that takes longer keeps connections awake for longer than they need. */
const SLOW_MS = 20;
/** So fast that nothing was put on a disk. */
const NOTHING_MS = 0.01;
/** Space for a million sleepers. */
const FREE_BYTES_MIN = 200e6;
const TMPFS = 0x0102_1994;

/** A folder as a place for connections: can it be written, how long does a commit take, what is free? */
export function examineFolder(folder: string): Finding {
  const name = "folder";
  let work: string;
  try {
    work = mkdtempSync(join(folder, ".torpor-doctor-"));
  } catch (error) {
    return { name, verdict: "bad", found: reasonOf(error), advice: "name a folder that may be written" };
  }
  try {
    const syncMs = medianSyncMs(join(work, "file"));
    const { bavail, bsize, type } = statfsSync(folder);
    const free = bavail * bsize;
    const found = `a commit takes ${syncMs.toFixed(2)} ms, ${(free / 1e9).toFixed(1)} GB are free`;
    if (type === TMPFS || syncMs < NOTHING_MS) {
      const advice = "nothing in it survives a power failure; connections survive the death of the process";
      return { name, verdict: "less", found: `${found}; it is in memory`, advice };
    }
    if (free < FREE_BYTES_MIN) {
      return { name, verdict: "less", found, advice: "a million sleepers need 200 MB" };
    }
    if (syncMs > SLOW_MS) {
      return { name, verdict: "less", found, advice: "connections fall asleep as slowly as that" };
    }
    return { name, verdict: "good", found };
  } catch (error) {
    return { name, verdict: "bad", found: reasonOf(error), advice: "this file system cannot hold a store" };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function medianSyncMs(path: string): number {
  const file = openSync(path, "wx");
  try {
    const record = new Uint8Array(RECORD_BYTES);
    const took = Array.from({ length: SYNCS }, () => {
      const startMs = performance.now();
      writeSync(file, record);
      fdatasyncSync(file);
      return performance.now() - startMs;
    });
    return took.sort((a, b) => a - b)[SYNCS >> 1]!;
  } finally {
    closeSync(file);
  }
}
