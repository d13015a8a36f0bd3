/**
 * Nanoseconds per operation and bytes per connection of the connection map, beside a `Map` with text keys:
 * `npx tsx bench/connection_map.ts [connections …]`, by default 1,000 to 1,000,000. Both must give the same answers.
 */
import process from "node:process";
import { assert } from "../base/assert.ts";
import { Prng } from "../base/random.ts";
import { ConnectionMap } from "../net/connections/connection_map.ts";

const SIZES = process.argv.slice(2).map(Number);
const OPERATIONS_MIN = 1_000_000; // a round is long enough for the clock, and the map for the compiler
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

function measure(make: () => Holder, keys: Keys): string[] {
  const size = keys.order.length;
  const rounds = Math.ceil(OPERATIONS_MIN / size);
  const ns = { insert: 0, hit: 0, miss: 0, remove: 0 };
  let found = 0, bytes = 0;
  const time = (name: keyof typeof ns, run: (at: number) => void): void => {
    const startMs = performance.now();
    for (let at = 0; at < size; at++) run(at);
    ns[name] += ((performance.now() - startMs) * 1e6) / (size * rounds);
  };
  for (let round = 0; round < rounds; round++) {
    const holder = make();
    time("insert", (at) => holder.insert(keys, at));
    bytes = holder.bytes() / size;
    time("hit", (at) => void (found += holder.find(LOCAL, keys, keys.order[at]!) ? 1 : 0));
    time("miss", (at) => void (found += holder.find(LOCAL + 1, keys, keys.order[at]!) ? 1 : 0));
    time("remove", (at) => holder.remove(keys, keys.order[at]!));
  }
  assert(found === size * rounds, "Every key is found once, and no other");
  return [
    ...Object.values(ns).map((value) => value.toFixed(0)),
    Number.isNaN(bytes) ? "-" : bytes.toFixed(1),
  ];
}

const row = (cells: readonly string[]): void => console.log(cells.map((cell) => cell.padStart(15)).join(""));
row(["connections", "", "insert ns", "find ns", "find none ns", "find+remove ns", "bytes each"]);
for (const size of SIZES.length > 0 ? SIZES : [1_000, 10_000, 100_000, 1_000_000]) {
  const keys = drawKeys(size);
  row([`${size}`, "ConnectionMap", ...measure(connectionMap, keys)]);
  if (size <= MAP_MAX) row([`${size}`, "Map of text", ...measure(textMap, keys)]);
}
