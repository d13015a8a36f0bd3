import {
  type Bench,
  type BenchOptions,
  type Cell,
  interleave,
  ratio,
  spreadOf,
  type Table,
} from "./bench.ts";
import type { Figures } from "./connection_map/holder_worker.ts";
import { Worker } from "./worker.ts";

const SIZES = [1_000, 10_000, 100_000, 1_000_000];
const SIZES_QUICK = [1_000, 10_000];
const SIZES_FULL = [...SIZES, 10_000_000];
/** Connections of all repeats of one round: small sizes repeat, and the best counts. */
const OPERATIONS = 1_000_000;
const OPERATIONS_QUICK = 20_000;
const ROUNDS = { rounds: 5, warmUps: 0 };
const ROUNDS_QUICK = { rounds: 1, warmUps: 0 };
const MAP_MAX = 2_000_000; // a Map with text keys takes 160 bytes for each; it stops at 16.7 million

/** A row's figures in their order, and what they are. */
const COLUMNS = {
  fill: "fill, ns",
  find: "find, ns",
  none: "find none, ns",
  remove: "remove, ns",
  insert: "insert, ns",
  pause: "longest of fill, ms",
} as const satisfies Partial<Record<keyof Figures, string>>;
const TIMED = ["find", "none", "remove", "insert"] as const; // growth is not the same at all sizes
type Rest = Record<typeof TIMED[number], number>;

/**
 * Nanoseconds per operation and bytes per connection, from a thousand to ten million, beside a `Map` with text keys,
 * and beside what the same accesses to memory take alone.
 */
export const bench: Bench = {
  async *run({ quick, full }: BenchOptions) {
    const rest: { size: number; figures: Rest }[] = [];
    await using text = workerOf("Map of text");
    await using memory = workerOf("memory alone");
    await using map = workerOf("ConnectionMap");
    for (const size of quick ? SIZES_QUICK : full ? SIZES_FULL : SIZES) {
      const repeats = Math.ceil((quick ? OPERATIONS_QUICK : OPERATIONS) / size);
      const ask = (worker: Worker) => (): Promise<Figures> => worker.ask<Figures>(`${size} ${repeats}`);
      const results = await interleave({
        ...(size <= MAP_MAX ? { "Map of text": ask(text) } : {}),
        "memory alone": ask(memory),
        ConnectionMap: ask(map),
      }, quick ? ROUNDS_QUICK : ROUNDS);
      const best = (name: string, operation: keyof Figures): number =>
        spreadOf(results[name]!.map((each) => each[operation])).min;
      rest.push({
        size,
        figures: Object.fromEntries(
          TIMED.map((name) => [name, best("ConnectionMap", name) - best("memory alone", name)]),
        ) as Rest,
      });
      yield {
        title: `${size.toLocaleString("en-US")} connections`,
        columns: ["", ...Object.values(COLUMNS), "bytes each"],
        rows: Object.entries(results).map(([name, all]): Cell[] => [
          name,
          ...(Object.keys(COLUMNS) as (keyof typeof COLUMNS)[]).map((column) =>
            spreadOf(all.map((each) => each[column]))
          ),
          all[0]!.bytes || undefined,
        ]),
      };
    }
    yield restTable(rest);
  },
};

function workerOf(name: string): Worker {
  return new Worker("connection_map/holder_worker.ts", [name]);
}

function restTable(rest: readonly { size: number; figures: Rest }[]): Table {
  const spread = TIMED.map((name) => {
    const { min, max } = spreadOf(rest.map(({ figures }) => figures[name]));
    return ratio(max, min);
  });
  return {
    title: "what is left without the memory's share, ns",
    columns: ["connections", ...TIMED.map((name) => COLUMNS[name].slice(0, -4))],
    rows: [
      ...rest.map(({ size, figures }): Cell[] => [
        size.toLocaleString("en-US"),
        ...TIMED.map((name) => figures[name]),
      ]),
      ["largest to smallest", ...spread],
    ],
    notes: [
      "Time of the processor, so that what else the machine does counts little; of the best rounds. Fill: inserts from",
      "nothing on, growth and a look at the clock included. The others are at that size, each one's key depending on",
      "the last one's answer; remove finds its record first. Memory alone: as many dependent accesses to random places",
      "of as much memory, and nothing else: no hash, no comparison. Longest: a single insert, by the clock or by the",
      "processor, whichever says less. At 100,000 the index has just begun to grow: a find of nothing looks at two",
      "tables, and each removal moves six records.",
    ],
  };
}
