import { expect, test } from "vitest";
import { Prng } from "../../../../base/random.ts";
import { FlowTable } from "../../../../net/firewall/conntrack/flow_table.ts";
import { FlowKey } from "../../../../net/firewall/conntrack/key.ts";
import { CtStatus, NO_FLOW } from "../../../../net/firewall/conntrack/state.ts";
import { FlowSources } from "../../../../net/firewall/nat/sources.ts";
import { drawSeed } from "../../../support/seed.ts";

const HOLDER = { retain: () => {}, release: () => {} };

function keyOf(source: number, destination: number, ports: number, protocol = 6): FlowKey {
  const key = new FlowKey();
  key.set(source, destination, ports, protocol);
  return key;
}

function made(
  options: { flowsMax?: number; seed?: number } = {},
): { table: FlowTable; sources: FlowSources } {
  const { seed = 1, ...others } = options;
  const table = new FlowTable({ entropy: new Prng(seed), nowMs: 0, holder: HOLDER, ...others });
  const sources = new FlowSources(table);
  table.removing = (flow) => sources.remove(flow);
  return { table, sources };
}

test("a table of flows is a map of both keys with deadlines: drawn changes against the slow twin", () => {
  const seed = drawSeed("FLOW_TABLE_SEED", 2 ** 31);
  const prng = new Prng(seed);
  const { table, sources } = made({ seed, flowsMax: 4_096 });
  interface Twin {
    readonly flow: number;
    readonly keys: readonly [string, string];
    readonly source: string;
    endMs: number;
  }
  const text = (key: FlowKey): string =>
    [key.source, key.destination, key.ports >>> 0, key.protocolAndZone].join();
  let nowMs = 0;
  const twins = new Map<string, Twin>(); // by either key
  const bySource = new Map<string, Twin[]>(); // the latest last
  const forget = (twin: Twin): void => {
    for (const key of twin.keys) twins.delete(key);
    const list = bySource.get(twin.source)!;
    list.splice(list.indexOf(twin), 1);
  };
  const drawn = (): FlowKey =>
    keyOf(prng.below(40), prng.below(40), (prng.below(4) << 16) | prng.below(4), prng.below(2) ? 6 : 17);
  for (let step = 0; step < 12_000; step++) {
    const what = `seed ${seed} step ${step}`;
    nowMs += prng.below(20);
    for (const twin of new Set(twins.values())) if (twin.endMs <= nowMs) forget(twin);
    const key = drawn();
    const found = table.find(key, nowMs);
    const twin = twins.get(text(key));
    expect(found === NO_FLOW ? undefined : found >>> 1, what).toBe(twin?.flow);
    if (twin !== undefined) {
      expect(found & 1, what).toBe(twin.keys.indexOf(text(key)));
      if (prng.below(3) === 0) {
        table.remove(twin.flow);
        forget(twin);
      } else {
        twin.endMs = nowMs + 10 * (1 + prng.below(200));
        table.rememberFor(twin.flow, (twin.endMs - nowMs) / 1000, nowMs);
        // Deadlines are ticks of 10 ms, from a tick on.
        twin.endMs = 10 * (table.tick(nowMs) + Math.ceil((twin.endMs - nowMs) / 10));
      }
      continue;
    }
    const reply = new FlowKey();
    reply.invert(key);
    if (prng.below(3) === 0) reply.source = prng.below(40); // as after NAT
    const flow = table.make(key, reply, nowMs);
    table.rememberFor(flow, 0.5, nowMs);
    if (text(reply) === text(key) || twins.has(text(reply))) {
      expect(text(reply) !== text(key) && table.confirm(flow, new FlowKey(), nowMs), what).toBe(false);
      table.remove(flow);
      continue;
    }
    sources.add(flow);
    expect(table.confirm(flow, new FlowKey(), nowMs), what).toBe(true);
    const source = [key.source, key.ports >>> 16, key.protocolAndZone].join();
    const made = {
      flow,
      keys: [text(key), text(reply)] as const,
      source,
      endMs: 10 * (table.tick(nowMs) + 50),
    };
    for (const each of made.keys) twins.set(each, made);
    bySource.set(source, [...bySource.get(source) ?? [], made]);
    const listed: number[] = [];
    let each = sources.first(key.source, key.ports >>> 16, key.protocolAndZone);
    for (; each !== NO_FLOW; each = sources.next(each)) {
      if (!table.isOver(each, nowMs)) listed.push(each);
    }
    expect(listed, what).toEqual(bySource.get(source)!.map((one) => one.flow).reverse());
  }
  expect(table.size).toBeGreaterThan(30);
});

test("a full table gives up flows that are not assured, and refuses when all are", () => {
  const { table } = made({ flowsMax: 8 });
  const add = (number: number, assured: boolean): number => {
    const key = keyOf(number, 1, number);
    const reply = new FlowKey();
    reply.invert(key);
    const flow = table.make(key, reply, 0);
    if (flow === NO_FLOW) return flow;
    table.rememberFor(flow, 30, 0);
    if (assured) table.addStatus(flow, CtStatus.assured);
    expect(table.confirm(flow, new FlowKey(), 0)).toBe(true);
    return flow;
  };
  for (let number = 1; number <= 8; number++) expect(add(number, number !== 5)).not.toBe(NO_FLOW);
  expect(table.size).toBe(8);
  expect(add(9, true)).not.toBe(NO_FLOW); // in the place of the fifth
  expect(table.find(keyOf(5, 1, 5), 0)).toBe(NO_FLOW);
  expect(add(10, false)).toBe(NO_FLOW);
  expect(table.size).toBe(8);
  // Time makes room: the deadline itself is too late.
  expect(table.find(keyOf(1, 1, 1), 29_990)).not.toBe(NO_FLOW);
  expect(table.find(keyOf(1, 1, 1), 30_000)).toBe(NO_FLOW);
  expect(table.size).toBe(7);
});

test("ids name flows, not records: one that is gone is never another's", () => {
  const { table } = made();
  const key = keyOf(1, 2, 3), reply = keyOf(2, 1, 3 << 16);
  const ids = new Set<number>();
  for (let round = 0; round < 50; round++) {
    const flow = table.make(key, reply, 0);
    table.rememberFor(flow, 1, 0);
    const id = table.id(flow);
    expect(table.byId(id, 0)).toBe(NO_FLOW); // not confirmed
    expect(table.confirm(flow, new FlowKey(), 0)).toBe(true);
    expect(table.byId(id, 0)).toBe(flow);
    expect(table.byId(id, 1_000)).toBe(NO_FLOW);
    for (const old of ids) expect(table.byId(old, 0)).toBe(NO_FLOW);
    ids.add(id);
    table.remove(flow);
  }
  expect(ids.size).toBe(50);
});

test("a table that nobody came to for years forgets what is over, whenever its ticks come round", () => {
  const wrapMs = 10 * 2 ** 32;
  for (const afterMs of [60_000, wrapMs / 4, wrapMs / 2, wrapMs, wrapMs + 5_000, 3 * wrapMs + 1]) {
    const { table } = made();
    const flow = table.make(keyOf(1, 2, 3), keyOf(2, 1, 3 << 16), 0);
    table.rememberFor(flow, 30, 0);
    expect(table.confirm(flow, new FlowKey(), 0)).toBe(true);
    expect(table.find(keyOf(1, 2, 3), afterMs), `${afterMs}`).toBe(NO_FLOW);
  }
  // And one that is spoken of once a month is there for as long.
  const { table } = made();
  const flow = table.make(keyOf(1, 2, 3), keyOf(2, 1, 3 << 16), 0);
  table.rememberFor(flow, 4_000_000, 0);
  expect(table.confirm(flow, new FlowKey(), 0)).toBe(true);
  for (let nowMs = 0; nowMs < 2 * wrapMs; nowMs += 30 * 86_400_000) {
    expect(table.find(keyOf(1, 2, 3), nowMs), `${nowMs}`).toBe(2 * flow);
    table.rememberFor(flow, 4_000_000, nowMs);
  }
});
