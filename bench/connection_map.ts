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
/** The same, of connections that caches hold. */
const HOT = {
  hotFind: "find",
  hotNone: "find none",
  hotChange: "remove and insert",
} as const satisfies Partial<
  Record<keyof Figures, string>
>;
const HOT_KEYS = Object.keys(HOT) as (keyof typeof HOT)[];

/** Nanoseconds per operation and bytes per connection, from a thousand to ten million, beside a `Map` with text keys. */
export const bench: Bench = {
  async *run({ quick, full }: BenchOptions) {
    const hot: { size: number; figures: Figures }[] = [];
    await using text = workerOf("Map of text");
    await using map = workerOf("ConnectionMap");
    await using map6 = workerOf("ConnectionMap, IPv6");
    for (const size of quick ? SIZES_QUICK : full ? SIZES_FULL : SIZES) {
      const repeats = Math.ceil((quick ? OPERATIONS_QUICK : OPERATIONS) / size);
      const ask = (worker: Worker) => (): Promise<Figures> => worker.ask<Figures>(`${size} ${repeats}`);
      const results = await interleave({
        ...(size <= MAP_MAX ? { "Map of text": ask(text) } : {}),
        ConnectionMap: ask(map),
        "ConnectionMap, IPv6": ask(map6),
      }, quick ? ROUNDS_QUICK : ROUNDS);
      const all = results["ConnectionMap"]!;
      const best = (key: keyof Figures): number => spreadOf(all.map((each) => each[key])).min;
      const figures = Object.fromEntries(HOT_KEYS.map((key) => [key, best(key)])) as unknown as Figures;
      hot.push({ size, figures });
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
    yield hotTable(hot);
  },
};

function workerOf(name: string): Worker {
  return new Worker("connection_map/holder_worker.ts", [name]);
}

function hotTable(hot: readonly { size: number; figures: Figures }[]): Table {
  const spread = HOT_KEYS.map((key) => {
    const { min, max } = spreadOf(hot.map(({ figures }) => figures[key]));
    return ratio(max, min);
  });
  return {
    title: "with 256 of them again and again, which caches hold, ns",
    columns: ["connections", ...Object.values(HOT)],
    rows: [
      ...hot.map(({ size, figures }): Cell[] => [
        size.toLocaleString("en-US"),
        ...HOT_KEYS.map((key) => figures[key]),
      ]),
      ["largest to smallest", ...spread],
    ],
    notes: [
      "IPv6: each peer has an address of its own, which is read, as a packet's is, before each operation.",
      "Time of the processor, so that what else the machine does counts little; here of the best rounds. Fill: inserts",
      "from nothing on, growth and a look at the clock included. The others are at that size, each one's key depending",
      "on the last one's answer; remove finds its record first. Above, keys come in no order that a cache could",
      "foresee, so that most of the time of large maps is the memory's. Longest: a single insert, by the clock or by",
      "the processor, whichever says less.",
    ],
  };
}
