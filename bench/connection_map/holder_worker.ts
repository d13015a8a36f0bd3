/**
 * Connections in one of three holders: `holder_worker.ts CASE`, then a line `SIZE REPEATS` for each figure. A process of
 * its own, so that nobody's garbage is another one's pause. See ../connection_map.ts.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { assert } from "../../base/assert.ts";
import { Prng } from "../../base/random.ts";
import { AddressTable } from "../../net/ip/address_table.ts";
import { ConnectionMap } from "../../net/connections/connection_map.ts";
import { memoryNow, tell } from "../worker.ts";

/** Nanoseconds of processor time per operation, the best of all repeats. */
export interface Figures {
  /** Inserts from nothing on, growth included, and a look at the clock. */
  fill: number;
  find: number;
  none: number;
  /** Finds first. */
  remove: number;
  /** At that size: nothing grows. */
  insert: number;
  /** The same with a few connections among them again and again, which caches hold: the work without the memory's share. */
  hotFind: number;
  hotNone: number;
  /** A removal and an insertion. */
  hotChange: number;
  /**
   * Milliseconds of the longest insert of `fill`, or what the process had of a processor while a block of inserts
   * was made if that is less: so what others do meanwhile is not a pause of ours.
   */
  pause: number;
  /** Bytes per connection; 0 when only the engine knows. */
  bytes: number;
}

const BLOCK = 32;
const FINDS_MAX = 1_000_000;
/** Connections that caches hold: an index's line and a record's, and their pages' addresses, for each. */
const HOT = 256;
const HOT_OPERATIONS = 256 * 800;
const LOCAL = 0x0a070001;
const PEER_FIRST = 0x0b00_0000;
const SEED = [0x1234_5678, 0x9abc_def0] as const;

/** Connections by number; each call returns that number, as memory had it. */
interface Holder {
  insert(at: number): number;
  /** `at`, or another number when it is not there; with another local address it never is. */
  find(local: number, at: number): number;
  remove(at: number): number;
  bytes(): number;
}

/** An address of its own keeps each key distinct, a port makes them unlike. An array of keys would miss the cache. */
function remoteOf(at: number): number {
  return PEER_FIRST + at;
}

function portOf(at: number): number {
  return Math.imul(at, 0x9e37_79b1) >>> 16;
}

function connectionMap(): Holder {
  const map = new ConnectionMap({ seedHi: SEED[0], seedLo: SEED[1] });
  const find = (local: number, at: number): number => map.find(local, remoteOf(at), 443, portOf(at));
  return {
    insert: (at) => map.insert(LOCAL, remoteOf(at), 443, portOf(at)),
    find,
    remove(at) {
      const record = find(LOCAL, at);
      map.remove(record);
      return record;
    },
    bytes: () => map.byteLength,
  };
}

/** Each peer with an IPv6 address of its own, read from its packet as it were. */
function connectionMap6(): Holder {
  const addresses = new AddressTable({ entropy: new Prng(SEED[0]) });
  const map = new ConnectionMap({ seedHi: SEED[0], seedLo: SEED[1], addresses });
  const servers = [LOCAL, LOCAL + 1].map((last) => addresses.ofWords([0x2001_0db8, 0, 0, last]));
  for (const server of servers) addresses.retain(server);
  const remote = (at: number): number => addresses.intern(0x2001_0db8, remoteOf(at), ~at, at, 0);
  const find = (local: number, at: number): number =>
    map.find(servers[local - LOCAL]!, remote(at), 443, portOf(at));
  return {
    insert: (at) => map.insert(servers[0]!, remote(at), 443, portOf(at)),
    find,
    remove(at) {
      const record = find(LOCAL, at);
      map.remove(record);
      return record;
    },
    bytes: () => map.byteLength + addresses.byteLength,
  };
}

function textMap(): Holder {
  const map = new Map<string, number>();
  const name = (local: number, at: number): string => `${local},${remoteOf(at)},443,${portOf(at)}`;
  return {
    insert(at) {
      map.set(name(LOCAL, at), at);
      return at;
    },
    find: (local, at) => map.get(name(local, at)) ?? -1,
    remove: (at) => (map.delete(name(LOCAL, at)) ? at : -1),
    bytes: () => 0,
  };
}

/** A step that leads once around `size` places in no order that a cache could foresee. */
function strideOf(size: number): number {
  const divisor = (a: number, b: number): number => b === 0 ? a : divisor(b, a % b);
  let stride = Math.round(size * 0.618034);
  while (divisor(stride, size) > 1) stride++;
  return stride;
}

/**
 * Fills a holder, finds some, finds nobody, removes an eighth and inserts it again, backward: so everybody gets the
 * record that was theirs. Which key is next depends on the last answer, so that no two operations overlap: a processor
 * has many reads under way at once where it can.
 */
function measure(make: () => Holder, size: number, withHot: boolean): Partial<Figures> {
  const holder = make();
  const stride = strideOf(size);
  let at = 0;
  let wrong = 0;
  const walk = (count: number, by: number, answerOf: (at: number) => number): number => {
    const startMs = cpuMs();
    for (let done = 0; done < count; done++) {
      const off = answerOf(at) - at;
      wrong |= off;
      at = (at + by + off) % size;
    }
    return (cpuMs() - startMs) * 1e6 / count;
  };
  let pause = 0;
  const fillMs = cpuMs();
  let lastMs = fillMs;
  for (let each = 0; each < size;) {
    let longestMs = 0;
    let wallMs = performance.now();
    for (const end = Math.min(size, each + BLOCK); each < end; each++) {
      holder.insert(each);
      const nowMs = performance.now();
      if (nowMs - wallMs > longestMs) longestMs = nowMs - wallMs;
      wallMs = nowMs;
    }
    const nowMs = cpuMs();
    pause = Math.max(pause, Math.min(longestMs, nowMs - lastMs));
    lastMs = nowMs;
  }
  const fill = (lastMs - fillMs) * 1e6 / size;
  const bytes = holder.bytes() / size;
  const finds = Math.min(size, FINDS_MAX);
  const find = walk(finds, stride, (key) => holder.find(LOCAL, key));
  const none = walk(finds, stride, (key) => holder.find(LOCAL + 1, key) + 1 + key);
  const some = Math.max(1, size >>> 3);
  const remove = walk(some, stride, (key) => holder.remove(key));
  at = (at + size - stride) % size;
  const insert = walk(some, size - stride, (key) => holder.insert(key));
  const cold = { fill, find, none, remove, insert, pause, bytes };
  if (!withHot) return cold;
  const keys = Int32Array.from({ length: HOT }, (_, each) => Math.floor(each * size / HOT));
  const hot = (answerOf: (key: number) => number): number => {
    let best = Infinity;
    for (let part = 0; part < 8; part++) {
      const startMs = cpuMs();
      for (let done = 0, key = 0; done < HOT_OPERATIONS / 8; done++) {
        const off = answerOf(keys[key]!) - keys[key]!;
        wrong |= off;
        key = (key + 1 + off) & (HOT - 1);
      }
      best = Math.min(best, (cpuMs() - startMs) * 1e6 / (HOT_OPERATIONS / 8));
    }
    return best;
  };
  const hotChange = hot((key) => {
    holder.remove(key);
    holder.insert(key);
    return key;
  });
  const hotFind = hot((key) => holder.find(LOCAL, key));
  const hotNone = hot((key) => holder.find(LOCAL + 1, key) + 1 + key);
  assert(wrong === 0, "Every key is found, and no other");
  return { ...cold, hotFind, hotNone, hotChange };
}

/** Milliseconds that this process has run on a processor. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const CASES: Record<string, () => Holder> = {
  "Map of text": textMap,
  ConnectionMap: connectionMap,
  "ConnectionMap, IPv6": connectionMap6,
};

const make = CASES[process.argv[2]!]!;
measure(make, 20_000, true); // for the compiler
for await (const line of createInterface({ input: process.stdin })) {
  const [size, repeats] = line.split(" ").map(Number) as [number, number];
  const best: Partial<Figures> = {};
  await memoryNow(); // collects garbage
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (
      const [key, figure] of Object.entries(measure(make, size, repeat === 0)) as [keyof Figures, number][]
    ) {
      best[key] = Math.min(best[key] ?? Infinity, figure);
    }
  }
  tell(best);
}
