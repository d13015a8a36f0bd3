import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import {
  Evidence,
  FAILED_MS,
  LOCK_MS,
  Neighbors,
  NEIGHBORS_MAX,
  type NeighborSink,
  PENDING_BYTES_MAX,
  PENDING_FRAMES_MAX,
  REACHABLE_MS,
  REQUEST_INTERVAL_MS,
  REQUESTS_MAX,
  Resolution,
} from "../../../net/ip/neighbors.ts";

const T = 1_700_000_000_000;
const PEER = 0x0a070001;
const HI = 0x0200;
const LO = 42;

class Log implements NeighborSink {
  events: string[] = [];
  request(address: number, hi: number, lo: number): void {
    this.events.push(`request ${address} to ${hi.toString(16)}:${(lo >>> 0).toString(16)}`);
  }
  deliver(slab: Slab, start: number, end: number, hi: number, lo: number): void {
    this.events.push(
      `deliver [${slab.bytes.slice(start, end)}] to ${hi.toString(16)}:${(lo >>> 0).toString(16)}`,
    );
  }
  failed(address: number): void {
    this.events.push(`failed ${address}`);
  }
  take(): string[] {
    return this.events.splice(0);
  }
}

function hold(neighbors: Neighbors, address: number, ...bytes: number[]): boolean {
  const slab = new Slab(Uint8Array.from([0, ...bytes, 0]));
  const kept = neighbors.hold(address, slab, 1, 1 + bytes.length);
  slab.bytes.fill(99); // the caller goes on using its buffer
  return kept;
}

test("an unknown address is asked for once, and an answer sends what waited, in order (RFC 826)", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  expect(neighbors.lookup(PEER, T)).toBe(Resolution.Request);
  expect(hold(neighbors, PEER, 1, 2)).toBe(true);
  expect(neighbors.lookup(PEER, T + 5)).toBe(Resolution.Wait);
  expect(hold(neighbors, PEER, 3)).toBe(true);
  expect(neighbors.pendingBytes).toBe(3);
  expect(neighbors.learn(PEER, HI, LO, Evidence.Reply, T + 9, log)).toBe(true);
  expect(log.take()).toEqual(["deliver [1,2] to 200:2a", "deliver [3] to 200:2a"]);
  expect(neighbors.pendingBytes).toBe(0);
  expect(neighbors.lookup(PEER, T + 9)).toBe(Resolution.Found);
  expect([neighbors.hi, neighbors.lo]).toEqual([HI, LO]);
  expect(neighbors.counters.pendingLost).toBe(0);
});

test("requests go out once per second until there were enough, then the address has failed for a while", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  neighbors.lookup(PEER, T);
  hold(neighbors, PEER, 1);
  hold(neighbors, PEER, 2);
  for (let sent = 1; sent < REQUESTS_MAX; sent++) {
    const dueMs = T + sent * REQUEST_INTERVAL_MS;
    expect(neighbors.nextDeadlineMs()).toBe(dueMs);
    neighbors.advance(dueMs - 1, log);
    expect(log.take()).toEqual([]);
    neighbors.advance(dueMs, log);
    expect(log.take()).toEqual([`request ${PEER} to ffff:ffffffff`]);
    expect(neighbors.lookup(PEER, dueMs)).toBe(Resolution.Wait);
  }
  const failedAtMs = T + REQUESTS_MAX * REQUEST_INTERVAL_MS;
  neighbors.advance(failedAtMs - 1, log);
  expect(log.take()).toEqual([]);
  neighbors.advance(failedAtMs, log);
  expect(log.take()).toEqual([`failed ${PEER}`]);
  expect(neighbors.counters.pendingLost).toBe(2);
  expect(neighbors.pendingBytes).toBe(0);

  expect(neighbors.lookup(PEER, failedAtMs)).toBe(Resolution.Failed);
  expect(hold(neighbors, PEER, 3)).toBe(false);
  expect(neighbors.counters.pendingRefused).toBe(1);
  neighbors.advance(failedAtMs + FAILED_MS - 1, log);
  expect(neighbors.lookup(PEER, failedAtMs + FAILED_MS - 1)).toBe(Resolution.Failed);
  neighbors.advance(failedAtMs + FAILED_MS, log);
  expect(neighbors.size).toBe(0);
  expect(neighbors.nextDeadlineMs()).toBe(Infinity);
  expect(neighbors.lookup(PEER, failedAtMs + FAILED_MS)).toBe(Resolution.Request);
});

test("a late answer revives a failed address", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  neighbors.lookup(PEER, T);
  for (let i = 1; i <= REQUESTS_MAX; i++) neighbors.advance(T + i * REQUEST_INTERVAL_MS, log);
  expect(neighbors.lookup(PEER, T + 4_000)).toBe(Resolution.Failed);
  neighbors.learn(PEER, HI, LO, Evidence.Reply, T + 4_000, log);
  expect(neighbors.lookup(PEER, T + 4_000)).toBe(Resolution.Found);
});

test("an answer is believed until its time is over, then used and checked at once", () => {
  for (const advancing of [true, false]) { // the deadline holds whether or not somebody called advance
    const neighbors = new Neighbors();
    const log = new Log();
    neighbors.lookup(PEER, T);
    neighbors.learn(PEER, HI, LO, Evidence.Reply, T, log);
    const staleMs = T + REACHABLE_MS;
    expect(neighbors.nextDeadlineMs()).toBe(staleMs);
    if (advancing) neighbors.advance(staleMs - 1, log);
    expect(neighbors.lookup(PEER, staleMs - 1)).toBe(Resolution.Found);
    if (advancing) {
      neighbors.advance(staleMs, log);
      expect(neighbors.nextDeadlineMs()).toBe(Infinity); // unused, it wakes nobody
    }
    neighbors.hi = neighbors.lo = 0;
    expect(neighbors.lookup(PEER, staleMs)).toBe(Resolution.FoundRequest);
    expect([neighbors.hi, neighbors.lo]).toEqual([HI, LO]);
    expect(neighbors.lookup(PEER, staleMs + 1)).toBe(Resolution.Found); // one request per second
    for (let sent = 1; sent < REQUESTS_MAX; sent++) {
      neighbors.advance(staleMs + sent * REQUEST_INTERVAL_MS, log);
      expect(log.take()).toEqual([`request ${PEER} to 200:2a`]); // to the station alone
    }
    neighbors.advance(staleMs + REQUESTS_MAX * REQUEST_INTERVAL_MS, log);
    expect(log.take()).toEqual([`failed ${PEER}`]);
    expect(neighbors.lookup(PEER, staleMs + 5_000)).toBe(Resolution.Failed);
  }
});

test("proof from above renews an entry, but makes none and revives none", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  neighbors.confirm(PEER, T);
  expect(neighbors.size).toBe(0);
  neighbors.lookup(PEER, T);
  neighbors.confirm(PEER, T);
  expect(neighbors.lookup(PEER, T)).toBe(Resolution.Wait);
  neighbors.learn(PEER, HI, LO, Evidence.Reply, T, log);
  expect(neighbors.lookup(PEER, T + REACHABLE_MS)).toBe(Resolution.FoundRequest);
  neighbors.confirm(PEER, T + REACHABLE_MS + 10);
  neighbors.advance(T + 2 * REACHABLE_MS + 9, log);
  expect(neighbors.lookup(PEER, T + 2 * REACHABLE_MS + 9)).toBe(Resolution.Found);
  expect(log.take()).toEqual([]);
});

test("only a request to us makes an entry; replies and announcements out of the blue do not", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  expect(neighbors.learn(PEER, HI, LO, Evidence.Reply, T, log)).toBe(false);
  expect(neighbors.learn(PEER, HI, LO, Evidence.Announcement, T, log)).toBe(false);
  expect(neighbors.size).toBe(0);
  expect(neighbors.counters.ignored).toBe(2);
  expect(neighbors.learn(PEER, HI, LO, Evidence.Request, T, log)).toBe(true);
  expect(neighbors.nextDeadlineMs()).toBe(Infinity);
  expect(neighbors.lookup(PEER, T)).toBe(Resolution.FoundRequest); // known, but not proven
});

test("a request from an address that we are asking for releases what waits", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  neighbors.lookup(PEER, T);
  hold(neighbors, PEER, 7);
  neighbors.learn(PEER, HI, LO, Evidence.Request, T + 1, log);
  expect(log.take()).toEqual(["deliver [7] to 200:2a"]);
  expect(neighbors.nextDeadlineMs()).toBe(Infinity);
});

test("another station's claim is ignored right after an answer and taken later; announcements count at once", () => {
  const known = () => {
    const neighbors = new Neighbors();
    neighbors.lookup(PEER, T);
    neighbors.learn(PEER, HI, LO, Evidence.Reply, T, new Log());
    return neighbors;
  };
  const stationAfter = (neighbors: Neighbors, evidence: Evidence, afterMs: number) => {
    neighbors.learn(PEER, HI, 66, evidence, T + afterMs, new Log());
    const resolution = neighbors.lookup(PEER, T + afterMs);
    return [neighbors.lo, resolution];
  };
  const { Found, FoundRequest } = Resolution;
  expect(stationAfter(known(), Evidence.Reply, LOCK_MS - 1)).toEqual([LO, Found]);
  expect(stationAfter(known(), Evidence.Reply, LOCK_MS)).toEqual([66, Found]);
  expect(stationAfter(known(), Evidence.Request, LOCK_MS - 1)).toEqual([LO, Found]);
  expect(stationAfter(known(), Evidence.Request, LOCK_MS)).toEqual([66, FoundRequest]);
  expect(stationAfter(known(), Evidence.Announcement, 1)).toEqual([66, Found]); // asked a moment ago
  expect(stationAfter(known(), Evidence.Announcement, REQUEST_INTERVAL_MS)).toEqual([66, FoundRequest]);
});

test("a storm of announcements does not make us ask more than once per second", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  neighbors.learn(PEER, HI, LO, Evidence.Request, T, log);
  let requests = 0;
  for (let ms = 0; ms < 10_000; ms += 10) {
    neighbors.advance(T + ms, log);
    neighbors.learn(PEER, HI, ms, Evidence.Announcement, T + ms, log);
    if (neighbors.lookup(PEER, T + ms) === Resolution.FoundRequest) requests++;
  }
  expect(requests).toBe(10);
  expect(log.take()).toEqual([]);
});

test("a repeated claim without proof does not make an entry young again", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  neighbors.lookup(PEER, T);
  neighbors.learn(PEER, HI, LO, Evidence.Reply, T, log);
  neighbors.learn(PEER, HI, LO, Evidence.Announcement, T + REACHABLE_MS - 1, log);
  expect(neighbors.lookup(PEER, T + REACHABLE_MS - 1)).toBe(Resolution.Found);
  expect(neighbors.lookup(PEER, T + REACHABLE_MS)).toBe(Resolution.FoundRequest);
});

test("group addresses and the empty address are no stations", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  neighbors.lookup(PEER, T);
  for (const [hi, lo] of [[0xffff, -1], [0x0100, 0x5e000001], [0, 0]] as const) {
    expect(neighbors.learn(PEER, hi, lo, Evidence.Reply, T, log)).toBe(false);
  }
  expect(neighbors.lookup(PEER, T)).toBe(Resolution.Wait);
  expect(neighbors.learn(PEER, 0x0002, 0, Evidence.Reply, T, log)).toBe(true);
});

test("as many packets as allowed wait for one address; one more replaces the oldest", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  neighbors.lookup(PEER, T);
  for (let i = 0; i < PENDING_FRAMES_MAX; i++) expect(hold(neighbors, PEER, i)).toBe(true);
  expect(neighbors.counters.pendingReplaced).toBe(0);
  expect(hold(neighbors, PEER, PENDING_FRAMES_MAX)).toBe(true);
  expect(neighbors.counters.pendingReplaced).toBe(1);
  expect(neighbors.pendingBytes).toBe(PENDING_FRAMES_MAX);
  neighbors.learn(PEER, HI, LO, Evidence.Reply, T, log);
  expect(log.take()).toEqual(
    Array.from({ length: PENDING_FRAMES_MAX }, (_, i) => `deliver [${i + 1}] to 200:2a`),
  );
});

test("as many bytes as allowed wait for all addresses; one more is refused until there is room", () => {
  const neighbors = new Neighbors(4, 10);
  const log = new Log();
  neighbors.lookup(1, T);
  neighbors.lookup(2, T);
  expect(hold(neighbors, 1, 1, 2, 3, 4, 5, 6)).toBe(true);
  expect(hold(neighbors, 2, 1, 2, 3, 4, 5)).toBe(false);
  expect(neighbors.counters.pendingRefused).toBe(1);
  expect(hold(neighbors, 2, 1, 2, 3, 4)).toBe(true);
  expect(neighbors.pendingBytes).toBe(10);
  neighbors.learn(1, HI, LO, Evidence.Reply, T, log);
  expect(hold(neighbors, 2, 1, 2, 3, 4, 5, 6)).toBe(true);
  expect(PENDING_BYTES_MAX).toBeGreaterThan(65_535); // room for the largest packet there is
});

test("a full table gives up unanswered addresses first, then stale ones, the least recently used of them", () => {
  const neighbors = new Neighbors(4);
  const log = new Log();
  const found = (address: number) => {
    neighbors.lookup(address, T);
    neighbors.learn(address, HI, address, Evidence.Reply, T, log);
  };
  found(1);
  neighbors.learn(2, HI, 2, Evidence.Request, T, log); // stale
  neighbors.lookup(3, T);
  hold(neighbors, 3, 1);
  neighbors.lookup(4, T);
  expect(neighbors.counters.evicted).toBe(0); // full, and no more than full
  neighbors.lookup(3, T); // now 4 is the one not used for longest
  expect(neighbors.lookup(5, T)).toBe(Resolution.Request);
  expect(neighbors.counters.evicted).toBe(1);
  expect(neighbors.lookup(3, T)).toBe(Resolution.Wait);
  neighbors.learn(5, HI, 5, Evidence.Reply, T, log);
  neighbors.lookup(6, T); // evicts 3 with its packet
  expect(neighbors.counters.pendingLost).toBe(1);
  expect(neighbors.pendingBytes).toBe(0);
  neighbors.learn(6, HI, 6, Evidence.Reply, T, log);
  neighbors.lookup(7, T); // evicts 2, the stale one
  neighbors.learn(7, HI, 7, Evidence.Reply, T, log);
  neighbors.lookup(1, T); // reachable ones go by age
  neighbors.lookup(8, T); // evicts 5
  expect([1, 6, 7].map((address) => neighbors.lookup(address, T))).toEqual(Array(3).fill(Resolution.Found));
  expect(neighbors.size).toBe(4);
  expect(neighbors.learn(5, HI, 5, Evidence.Reply, T, log)).toBe(false);
});

test("an entry being checked counts as stale when room is needed", () => {
  const neighbors = new Neighbors(2);
  const log = new Log();
  neighbors.lookup(1, T);
  neighbors.learn(1, HI, 1, Evidence.Reply, T, log);
  expect(neighbors.lookup(1, T + REACHABLE_MS)).toBe(Resolution.FoundRequest);
  neighbors.lookup(2, T + REACHABLE_MS);
  neighbors.lookup(1, T + REACHABLE_MS);
  neighbors.lookup(2, T + REACHABLE_MS); // used last, but names no station
  neighbors.lookup(3, T + REACHABLE_MS);
  expect(neighbors.lookup(1, T + REACHABLE_MS)).toBe(Resolution.Found);
});

test("an entry that takes over another's place inherits nothing from it", () => {
  const neighbors = new Neighbors(1);
  const log = new Log();
  neighbors.lookup(1, T);
  hold(neighbors, 1, 1);
  neighbors.learn(2, HI, 2, Evidence.Request, T + 1, log);
  expect(log.take()).toEqual([]);
  expect(neighbors.nextDeadlineMs()).toBe(Infinity);
  expect(neighbors.lookup(2, T + 1)).toBe(Resolution.FoundRequest); // though 1 was asked for just now
});

test("a scan of more addresses than there are entries leaves known stations alone", () => {
  const neighbors = new Neighbors();
  const log = new Log();
  neighbors.lookup(PEER, T);
  neighbors.learn(PEER, HI, LO, Evidence.Reply, T, log);
  for (let i = 1; i < NEIGHBORS_MAX; i++) neighbors.lookup(PEER + i, T);
  expect([neighbors.size, neighbors.counters.evicted]).toEqual([NEIGHBORS_MAX, 0]);
  for (let i = NEIGHBORS_MAX; i < 3 * NEIGHBORS_MAX; i++) neighbors.lookup(PEER + i, T);
  expect([neighbors.size, neighbors.counters.evicted]).toEqual([NEIGHBORS_MAX, 2 * NEIGHBORS_MAX]);
  expect(neighbors.lookup(PEER, T)).toBe(Resolution.Found);
});

test("over random histories: nothing happens before the deadline, no packet is lost uncounted", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const prng = new Prng(seed);
    const entriesMax = prng.pick([5, 8]); // of 8 addresses: with evictions and without
    const neighbors = new Neighbors(entriesMax, 40);
    let nowMs = T;
    let held = 0;
    let delivered = 0;
    const asked = new Map<number, number>();
    const ask = (address: number) => {
      const lastMs = asked.get(address);
      const evicted = neighbors.counters.evicted > 0; // an evicted address may be asked for afresh
      if (lastMs !== undefined && !evicted) {
        expect(nowMs - lastMs, `seed ${seed}`).toBeGreaterThanOrEqual(REQUEST_INTERVAL_MS);
      }
      asked.set(address, nowMs);
    };
    const sink: NeighborSink = {
      request: (address) => ask(address),
      deliver: () => void delivered++,
      failed: () => {},
    };
    const quiet: NeighborSink = {
      request: () => expect.unreachable(`request early, seed ${seed}`),
      deliver: () => expect.unreachable(`delivery early, seed ${seed}`),
      failed: () => expect.unreachable(`failure early, seed ${seed}`),
    };
    for (let step = 0; step < 400; step++) {
      const address = prng.below(8);
      switch (prng.below(5)) {
        case 0:
        case 1: {
          const found = neighbors.lookup(address, nowMs);
          if (found === Resolution.Request || found === Resolution.FoundRequest) ask(address);
          if (found === Resolution.Request || found === Resolution.Wait) {
            const bytes = Array.from({ length: prng.between(1, 12) }, () => 0);
            if (hold(neighbors, address, ...bytes)) held++;
          }
          break;
        }
        case 2:
          neighbors.learn(address, HI, prng.below(3), prng.pick(Object.values(Evidence)), nowMs, sink);
          break;
        case 3:
          if (prng.chance(0.3)) neighbors.confirm(address, nowMs);
          break;
        default: {
          nowMs += prng.pick([1, 10, 400, 1_000, 5_000, 40_000]);
          const deadlineMs = neighbors.nextDeadlineMs();
          if (nowMs < deadlineMs) neighbors.advance(nowMs, quiet);
          else neighbors.advance(nowMs, sink);
          expect(neighbors.nextDeadlineMs(), `seed ${seed}, step ${step}`).toBeGreaterThan(nowMs);
        }
      }
      expect(neighbors.size).toBeLessThanOrEqual(entriesMax);
      expect(neighbors.pendingBytes).toBeLessThanOrEqual(40);
    }
    // Let everything be answered or given up.
    for (let turn = 0; turn < 10; turn++) neighbors.advance(nowMs += 40_000, sink);
    const { pendingLost, pendingReplaced } = neighbors.counters;
    expect(held, `seed ${seed}`).toBe(delivered + pendingLost + pendingReplaced);
    expect(neighbors.pendingBytes).toBe(0);
    expect(neighbors.nextDeadlineMs()).toBe(Infinity);
  }
});
