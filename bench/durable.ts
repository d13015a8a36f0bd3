import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FolderDisk } from "../checkpoint/store/disk.ts";
import { FileStore } from "../checkpoint/store/file_store.ts";
import { MemoryStore } from "../checkpoint/store/memory_store.ts";
import { type Bench, type Cell, interleave, ratio, roundsFor, spreadOf } from "./bench.ts";
import { DurableHosts, type Work } from "./durable/hosts.ts";

const ROUND_MS = 300;
const ROUND_MS_QUICK = 30;
/** What a log entry of a connection with little in its queues has. */
const ENTRY_BYTES = 200;

const TABLES: readonly [work: Work, title: string, unit: string, scale: number][] = [
  ["roundTrips", "round trips of one byte, one connection", "per second", 1],
  ["many", "round trips of one byte, 256 connections at once", "per second", 1],
  ["bulkIn", "bulk, to the server: acknowledged when it is in the log", "MB/s", 1e-6],
  ["bulkOut", "bulk, from the server: sent when it is in the log", "MB/s", 1e-6],
  ["connections", "connections: opened, one byte there and back, closed", "per second", 1],
];

/** What it costs that nothing leaves that is not in the log: durable connections beside ordinary ones. */
export const bench: Bench = {
  async *run(options) {
    const folder = mkdtempSync(join(tmpdir(), "torpor-bench-"));
    const file = (name: string): Promise<FileStore> => FileStore.open(join(folder, name));
    try {
      const subjects = {
        "ordinary": new DurableHosts(await file("ordinary"), false),
        "durable, in a folder": new DurableHosts(await file("durable"), true),
        "durable, in memory": new DurableHosts(new MemoryStore(), true),
      };
      const roundMs = options.quick ? ROUND_MS_QUICK : ROUND_MS;
      const sync = await syncMs(join(folder, "syncs"), options.quick ? 5 : 200);
      for (const [work, title, unit, scale] of TABLES) {
        const cases = Object.entries(subjects).map(([name, subject]) =>
          [name, () => subject.run(work, roundMs)] as const
        );
        const results = await interleave<number>(Object.fromEntries(cases), roundsFor(options));
        const baseline = spreadOf(results["ordinary"]!).median * scale;
        const rows = Object.entries(results).map(([name, speeds]): Cell[] => {
          const { median, min, max } = spreadOf(speeds.map((speed) => speed * scale));
          return [name, median, min, max, ratio(median, baseline)];
        });
        const notes = work === "roundTrips"
          ? [
            "Both hosts in one process and thread, over a pipe without delay: an answer is ready at once, and waits for the disk.",
            `A write of ${ENTRY_BYTES} bytes and its fdatasync in this folder: median ${sync.toFixed(3)} ms.`,
          ]
          : [];
        yield { title, columns: ["", unit, "min", "max", "ratio"], rows, notes };
      }
      for (const subject of Object.values(subjects)) await subject.close();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** The median time of a small write and its sync. */
async function syncMs(folder: string, times: number): Promise<number> {
  const disk = new FolderDisk(folder);
  const file = disk.open("probe", true);
  const entry = new Uint8Array(ENTRY_BYTES);
  const took: number[] = [];
  for (let at = 0; at < times; at++) {
    const startMs = performance.now();
    file.write(entry, at * ENTRY_BYTES);
    await file.sync();
    took.push(performance.now() - startMs);
  }
  file.close();
  return spreadOf(took).median;
}
