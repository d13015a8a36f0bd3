import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bench, Cell, Table } from "./bench.ts";
import type { Herd } from "./herd/herd_worker.ts";
import { Worker } from "./worker.ts";

const COUNT = 50_000;
const COUNT_QUICK = 3_000;
const COUNT_FULL = 1_000_000;
/** Awake at once; 0: no budget. */
const BUDGETS = [0, 1_000];
/** Without a budget a million would be awake at once. */
const UNLIMITED_MAX = 100_000;

/** All sleepers are spoken to at once: what that costs, how long it takes, and who waits for whom. */
export const bench: Bench = {
  async *run({ quick, full }) {
    const count = quick ? COUNT_QUICK : full ? COUNT_FULL : COUNT;
    const rows: Cell[][] = [];
    for (const awakeMax of BUDGETS) {
      const some = awakeMax === 0 ? Math.min(count, UNLIMITED_MAX) : count;
      const folder = mkdtempSync(join(tmpdir(), "torpor-bench-"));
      try {
        await using worker = new Worker("herd/herd_worker.ts", [folder, some, awakeMax]);
        rows.push(rowOf(awakeMax, await worker.answer<Herd>()));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }
    yield table(rows);
  },
};

function rowOf(awakeMax: number, herd: Herd): Cell[] {
  const { count, asleepBytes, peakBytes, awakePeak, heldPeak, seconds, waitMs, found, overtaken } = herd;
  return [
    awakeMax === 0 ? "no budget" : `awakeMax ${awakeMax.toLocaleString("en-US")}`,
    ...[count, asleepBytes / 1e6, (peakBytes - asleepBytes) / 1e6, awakePeak, heldPeak / 1e6],
    ...[seconds, count / seconds, waitMs.p50, waitMs.p99, waitMs.max, found / count * 100, overtaken],
  ];
}

function table(rows: Cell[][]): Table {
  return {
    title: "a herd: every sleeper is spoken to at once",
    columns: [
      ...["", "sleepers", "RSS asleep, MB", "more at the peak, MB", "awake at most", "held at most, MB"],
      ...["seconds", "answered/s", "wait ms, p50", "p99", "max", "found room, %", "of them overtaken"],
    ],
    rows,
    notes: [
      "RSS over the empty process. Each peer says 64 bytes, acknowledges its echo at once, and says them again after",
      "1, 3, 7, 15 ... seconds without an answer. Held: packets that wait, 64 MiB at most; who finds no room there has",
      "to ask again. Overtaken: those who found room and were answered after somebody who had asked 1,000 places later.",
      "With a budget whoever has been quiet for 5 ms is put to sleep again, durably, to make room.",
    ],
  };
}
