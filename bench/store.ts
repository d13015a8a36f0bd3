import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Prng } from "../base/random.ts";
import { FileStore } from "../checkpoint/store/mod.ts";
import { type Bench, type BenchOptions, type Cell, spreadOf, type Table } from "./bench.ts";
import type { Worked } from "./store/kind_worker.ts";
import { KINDS } from "./store/kinds.ts";
import type { Started } from "./store/sleepers_worker.ts";
import { Worker } from "./worker.ts";

const count = ({ quick, full }: BenchOptions): number => quick ? 2_000 : full ? 1_000_000 : 200_000;
const sleepers = ({ quick, full }: BenchOptions): number => quick ? 5_000 : full ? 10_000_000 : 1_000_000;
const churned = ({ quick, full }: BenchOptions): number => quick ? 3_000 : full ? 500_000 : 100_000;
const BATCH = 256;
/** A store's life, in times of all its records. */
const CHURNS = 4;

/** The store beside others on the same work; after `kill -9`; and while records come and go. */
export const bench: Bench = {
  async *run(options) {
    const folder = mkdtempSync(join(tmpdir(), "torpor-bench-"));
    try {
      yield await besideOthers(join(folder, "kinds"), count(options));
      yield await afterKill(join(folder, "sleepers"), sleepers(options));
      yield await churn(join(folder, "churn"), churned(options));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function besideOthers(parent: string, count: number): Promise<Table> {
  const rows: Cell[][] = [];
  for (const kind of Object.keys(KINDS)) {
    const folder = join(parent, kind);
    mkdirSync(folder, { recursive: true });
    const run = async (phase: string): Promise<Worked> => {
      await using worker = new Worker("store/kind_worker.ts", [kind, folder, count, phase]);
      return await worker.answer<Worked>();
    };
    const filled = await run("fill");
    if (filled.missing) {
      rows.push([`${kind}: not installed, left out`]);
      continue;
    }
    const bytes = bytesIn(folder) / (0.9 * count);
    const again = await run("reopen");
    rows.push([
      kind,
      ...[filled.putsPerSecond, filled.removesPerSecond, filled.readUs, again.readUs],
      ...[again.openMs, again.rssBytes / 2 ** 20, bytes],
    ]);
    rmSync(folder, { recursive: true });
  }
  return {
    title: `${count.toLocaleString("en-US")} records of 150 bytes, in batches of 256, each made durable`,
    columns: [
      "",
      "put/s",
      "removed/s",
      "read, us",
      "read, reopened",
      "reopened in ms",
      "RSS, MB",
      "disk B/record",
    ],
    rows,
    notes: [
      "Keys have 37 bytes. Ours are locations that the owner keeps (the connection map does), 8 bytes each in RSS here.",
      "A tenth is removed. LMDB: npm's lmdb, which maps its file into memory: RSS is what was touched of it. SQLite:",
      "better-sqlite3 where it is installed, else node:sqlite (Deno and newer Nodes have it); WAL, synchronous = FULL.",
    ],
  };
}

async function afterKill(folder: string, count: number): Promise<Table> {
  mkdirSync(folder);
  {
    await using worker = new Worker("store/sleepers_worker.ts", ["fill", folder, count]);
    await worker.answer();
  }
  const bytes = bytesIn(folder) / count;
  const starts: Started[] = [];
  for (let round = 0; round < 3; round++) {
    await using worker = new Worker("store/sleepers_worker.ts", ["start", folder]);
    starts.push(await worker.answer<Started>());
  }
  const of = (figure: (start: Started) => number): Cell => spreadOf(starts.map(figure));
  return {
    title:
      "sleeping connections after kill -9, from the start of the next process until it answers for all of them",
    columns: ["connections", "ready, s", "of it open", "recover", "RSS, MB", "disk B each"],
    rows: [[
      starts[0]!.connections.toLocaleString("en-US"),
      ...[of(({ readyMs }) => readyMs / 1000), of(({ openMs }) => openMs / 1000)],
      ...[of(({ recoverMs }) => recoverMs / 1000), of(({ rssBytes }) => rssBytes / 2 ** 20), bytes],
    ]],
    notes: ["Three starts. The files are in the page cache, as they are when only the process has died."],
  };
}

/** Random records are replaced, for a long time: what cleaning writes again, and how long it stops the world. */
async function churn(parent: string, count: number): Promise<Table> {
  const rows: Cell[][] = [];
  for (const liveShareMin of [0.5, 0.8]) {
    const folder = join(parent, `${liveShareMin}`);
    mkdirSync(folder, { recursive: true });
    await using store = await FileStore.open(folder, { segmentBytes: count * 8, liveShareMin });
    const prng = new Prng(1);
    const locations = new Float64Array(count);
    const recordOf = (index: number): Uint8Array => {
      const bytes = new Uint8Array(150);
      new DataView(bytes.buffer).setUint32(0, index);
      return bytes;
    };
    store.onMoved = (_from, to, bytes) => {
      locations[new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)] = to;
    };
    let appended = 0;
    const appends: number[] = [];
    const steps: number[] = [];
    const timed = <T>(into: number[], act: () => T): T => {
      const startMs = performance.now();
      const result = act();
      into.push(performance.now() - startMs);
      return result;
    };
    let most = 0;
    for (let from = 0; from < count * CHURNS; from += BATCH) {
      const filling = from < count;
      const indexes = filling
        ? Array.from({ length: Math.min(BATCH, count - from) }, (_, at) => from + at)
        : [...new Set(Array.from({ length: BATCH }, () => prng.below(count)))];
      const old = filling ? {} : { supersedes: indexes.map((index) => locations[index]) };
      const commit = timed(appends, () => store.append(indexes.map(recordOf), old));
      indexes.forEach((index, at) => locations[index] = commit.locations[at]!);
      if (!filling) appended += indexes.length * 170;
      while (timed(steps, () => store.clean()));
      await commit.durable;
      if (!filling) most = Math.max(most, store.stats.bytesTotal / store.stats.bytesLive);
    }
    const sorted = steps.sort((a, b) => a - b);
    rows.push([
      `${100 * liveShareMin}%`,
      ...[(appended + store.stats.bytesMoved) / appended, 100 / most, sorted.at(-1)!],
      ...[sorted[Math.floor(sorted.length * 0.99)]!, Math.max(...appends)],
    ]);
  }
  return {
    title: `random records of ${count.toLocaleString("en-US")} replaced, ${CHURNS - 1} times each`,
    columns: [
      "kept alive",
      "written per byte",
      "least alive, %",
      "longest step, ms",
      "p99",
      "longest append, ms",
    ],
    rows,
    notes: [
      "A step of cleaning moves 64 KiB. Written: what was appended, and what cleaning has written again.",
      "By theory, oldest first and deaths at random: 1.25 and 2.7.",
    ],
  };
}

function bytesIn(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}
