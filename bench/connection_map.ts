import { assert } from "../base/assert.ts";
import { Prng } from "../base/random.ts";
import { ConnectionMap } from "../net/connections/connection_map.ts";
import { type Bench, type BenchOptions, type Cell, interleave, ratio, spreadOf } from "./bench.ts";

const SIZES = [1_000, 10_000, 100_000, 1_000_000];
const SIZES_QUICK = [1_000, 10_000];
const SIZES_FULL = [...SIZES, 10_000_000];
const OPERATIONS_MIN = 1_000_000; // enough for the compiler
const ROUNDS_MIN = 3;
const MAP_MAX = 2_000_000; // a Map with text keys takes 160 bytes for each; it stops at 16.7 million
const LOCAL = 0x0a070001;

interface Keys {
  address: Int32Array;
  port: Uint16Array;
  /** In which order they are looked up and removed: not the one of insertion, which the caches like. */
  order: Int32Array;
}

interface Holder {
  insert(keys: Keys, at: number): void;
  find(local: number, keys: Keys, at: number): boolean;
  remove(keys: Keys, at: number): void;
  bytes(): number;
}

function connectionMap(): Holder {
  const map = new ConnectionMap({ seedHi: 0x1234_5678, seedLo: 0x9abc_def0 });
  return {
    insert: (keys, at) => void map.insert(LOCAL, keys.address[at]!, 443, keys.port[at]!),
    find: (local, keys, at) => map.find(local, keys.address[at]!, 443, keys.port[at]!) >= 0,
    remove: (keys, at) => map.remove(map.find(LOCAL, keys.address[at]!, 443, keys.port[at]!)),
    bytes: () => map.byteLength,
  };
}

function textMap(): Holder {
  const map = new Map<string, number>();
  const name = (local: number, keys: Keys, at: number): string =>
    `${local},${keys.address[at]},443,${keys.port[at]}`;
  return {
    insert: (keys, at) => void map.set(name(LOCAL, keys, at), at),
    find: (local, keys, at) => map.has(name(local, keys, at)),
    remove: (keys, at) => void map.delete(name(LOCAL, keys, at)),
    bytes: () => NaN,
  };
}

function drawKeys(size: number): Keys {
  const prng = new Prng(size);
  const order = Int32Array.from({ length: size }, (_, at) => at);
  for (let at = size - 1; at > 0; at--) {
    const other = prng.below(at + 1);
    [order[at], order[other]] = [order[other]!, order[at]!];
  }
  // A host number per address keeps the keys distinct, a random port makes them unlike
  const address = Int32Array.from({ length: size }, (_, at) => 0x0b00_0000 + at);
  return { address, port: Uint16Array.from({ length: size }, () => prng.uint32()), order };
}

const OPERATIONS = ["insert", "find", "find none", "find and remove"] as const;
type Nanoseconds = Record<typeof OPERATIONS[number] | "bytes", number>;

/** Fills a holder, finds everybody, finds nobody, empties it. */
function measure(make: () => Holder, keys: Keys): Nanoseconds {
  const size = keys.order.length;
  let found = 0;
  const time = (run: (at: number) => void): number => {
    const startMs = performance.now();
    for (let at = 0; at < size; at++) run(at);
    return (performance.now() - startMs) * 1e6 / size;
  };
  const holder = make();
  const insert = time((at) => holder.insert(keys, at));
  const bytes = holder.bytes() / size;
  const find = time((at) => void (found += holder.find(LOCAL, keys, keys.order[at]!) ? 1 : 0));
  const none = time((at) => void (found += holder.find(LOCAL + 1, keys, keys.order[at]!) ? 1 : 0));
  const remove = time((at) => holder.remove(keys, keys.order[at]!));
  assert(found === size, "Every key is found once, and no other");
  return { insert, find, "find none": none, "find and remove": remove, bytes };
}

/** Nanoseconds per operation and bytes per connection, beside a `Map` with text keys. Both give the same answers. */
export const bench: Bench = {
  async *run({ quick, full }: BenchOptions) {
    for (const size of quick ? SIZES_QUICK : full ? SIZES_FULL : SIZES) {
      const keys = drawKeys(size);
      const rounds = quick ? 1 : Math.max(ROUNDS_MIN, Math.ceil(OPERATIONS_MIN / size));
      const warmUps = quick ? 0 : Math.ceil(rounds / 4);
      const cases = { ...(size <= MAP_MAX ? { "Map of text": textMap } : {}), ConnectionMap: connectionMap };
      const runs = Object.entries(cases).map(([name, make]) => [name, () => measure(make, keys)] as const);
      const results = await interleave(Object.fromEntries(runs), { rounds, warmUps });
      const finds = (name: string): number => spreadOf(results[name]!.map(({ find }) => find)).median;
      yield {
        title: `${size.toLocaleString("en-US")} connections`,
        columns: ["", ...OPERATIONS.map((name) => `${name}, ns`), "find ratio", "bytes each"],
        rows: Object.entries(results).map(([name, all]): Cell[] => [
          name,
          ...OPERATIONS.map((operation) => spreadOf(all.map((each) => each[operation]))),
          ratio(finds(name), finds(Object.keys(results)[0]!)),
          all[0]!.bytes,
        ]),
      };
    }
  },
};
