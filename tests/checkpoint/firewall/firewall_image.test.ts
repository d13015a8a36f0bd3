import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import {
  agedRules,
  readFirewallImage,
  restoreFlows,
  writeFirewallImage,
} from "../../../checkpoint/firewall/firewall_image.ts";
import { explainFirewall } from "../../../checkpoint/firewall/explain.ts";
import { decodeCbor, encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { scanCbor } from "../../../checkpoint/image/cbor_scan.ts";
import { explainImage, ImageError, Kind, readImage, writeImage } from "../../../checkpoint/image/mod.ts";
import { listFlows } from "../../../net/firewall/conntrack/mod.ts";
import { readTextRules } from "../../../net/firewall/nft/text/read.ts";
import { printTextRules } from "../../../net/firewall/nft/text/print.ts";
import { schema } from "../image/cddl.ts";
import { FIREWALL_FLOWS, samples } from "../image/samples.ts";
import { HOSTS4, HOSTS6, NETWORKS, RULES } from "../../net/firewall/conntrack/nat_rules.ts";
import { TestRouter } from "../../net/firewall/conntrack/test_router.ts";
import { TrafficWorld } from "../../net/firewall/conntrack/traffic_world.ts";
import { drawSeed } from "../../support/seed.ts";

const cddl = schema(readFileSync(new URL("../../../checkpoint/image/image.cddl", import.meta.url), "utf8"));
const START_MS = 1_700_000_000_000;
const TEXT = `table inet filter {
  set known {
    type ipv4_addr
    flags dynamic,timeout
    timeout 1h
    elements = { 10.0.0.1 expires 100s, 10.0.0.2 expires 2000s }
  }
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    tcp dport 22 counter packets 7 bytes 420 accept
  }
}`;

test("a router that is restored from its firewall's image does what it would have done", () => {
  const seed = drawSeed("FIREWALL_IMAGE_SEED", 2 ** 31);
  for (const rules of RULES) {
    for (const [family, hosts] of [HOSTS4, HOSTS6].entries()) {
      let router = new TestRouter(seed, START_MS, NETWORKS, rules.ask);
      const targets = [0, 1].map((side) => [
        ...hosts.filter((host) => host.side !== side),
        { side, address: NETWORKS[side]![family]! },
      ]);
      const world = new TrafficWorld(new Prng(seed + family), router, hosts, targets);
      for (let step = 0; step < 500; step++) {
        router.nowMs += 20;
        const what = `seed ${seed}, ${rules.name}, step ${step}`;
        if (step % 250 === 249) {
          const image = writeFirewallImage({ tables: [] }, router.conntrack, router.nowMs);
          const other = new TestRouter(seed + step, router.nowMs, NETWORKS, rules.ask);
          const content = readFirewallImage(image);
          restoreFlows(content, other.conntrack, router.nowMs);
          const list = (each: TestRouter): string[] => [...listFlows(each.conntrack, router.nowMs)].sort();
          expect(list(other), what).toEqual(list(router));
          expect(content.flows.length, what).toBeGreaterThan(5);
          // Both go on with the same draws; what the one says, the other says.
          for (let more = 0; more < 30; more++) {
            const said = world.say();
            for (const each of [router, other]) each.portDrawn = 20_000 + more;
            const made = router.input(said);
            world.heard(made);
            expect(other.input(said), `${what} + ${more}`).toEqual(made);
          }
          router.portDrawn = -1;
          router = other;
          router.portDrawn = -1;
        }
        world.router = router;
        world.heard(router.input(world.say()));
      }
    }
  }
});

test("rules, sets and counters are in the image, and time goes on without us", () => {
  const rules = readTextRules(TEXT);
  const image = writeFirewallImage(rules, undefined, START_MS);
  const content = readFirewallImage(image);
  expect(printTextRules(content.rules)).toBe(printTextRules(rules));
  expect(content.flows).toEqual([]);
  const later = printTextRules(agedRules(content.rules, 150_000));
  expect(later).not.toContain("10.0.0.1");
  expect(later).toContain("10.0.0.2 expires 30m50s");
  expect(agedRules(content.rules, -5)).toBe(content.rules);
});

test("flows whose time was over meanwhile do not come back", () => {
  const router = new TestRouter(1, START_MS, NETWORKS, undefined);
  const world = new TrafficWorld(new Prng(1), router, HOSTS4, [HOSTS4.slice(3), HOSTS4.slice(0, 3)]);
  for (let step = 0; step < 300; step++) world.heard(router.input(world.say()));
  const content = readFirewallImage(writeFirewallImage({ tables: [] }, router.conntrack, START_MS));
  const restored = (afterMs: number): number =>
    restoreFlows(
      content,
      new TestRouter(2, START_MS + afterMs, NETWORKS, undefined).conntrack,
      START_MS + afterMs,
    );
  expect(restored(0)).toBe(content.flows.length);
  expect(restored(100_000)).toBe(content.flows.filter(({ remainingMs }) => remainingMs > 100_000).length);
  expect(restored(500_000_000)).toBe(0);
});

test("a firewall's image matches image.cddl, and is explained in nft's and conntrack's words", () => {
  const router = new TestRouter(1, START_MS, NETWORKS, RULES[1]!.ask);
  for (const hosts of [HOSTS4, HOSTS6]) {
    const world = new TrafficWorld(new Prng(3), router, hosts, [hosts.slice(3), hosts.slice(0, 3)]);
    for (let step = 0; step < 200; step++) world.heard(router.input(world.say()));
  }
  const bytes = writeFirewallImage(readTextRules(TEXT), router.conntrack, START_MS);
  const { body, chunks } = readImage(bytes);
  cddl.check("firewall-body", body);
  let flows = 0;
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; flows++) {
      const { end } = scanCbor(chunk, at);
      cddl.check("firewall-flow", decodeCbor(chunk.subarray(at, end)));
      at = end;
    }
  }
  expect(flows).toBe(router.conntrack.size);
  const text = explainFirewall(bytes);
  expect(text).toContain("tcp dport 22 counter packets 7 bytes 420 accept");
  for (const line of listFlows(router.conntrack, START_MS)) expect(text).toContain(line);
  expect(explainImage(bytes)).toContain("firewall image, version 1");
});

test("the sample of a firewall's image is read, and comes back as it is", () => {
  const content = readFirewallImage(writeImage(samples().firewall!));
  for (const flow of FIREWALL_FLOWS) cddl.check("firewall-flow", flow);
  const router = new TestRouter(1, content.frozenAtMs, [["10.1.0.1"], ["10.2.0.1"]], undefined);
  router.addresses.zoneNames.push("tun0", "tun1");
  expect(restoreFlows(content, router.conntrack, content.frozenAtMs)).toBe(3);
  const again = writeFirewallImage(content.rules, router.conntrack, content.frozenAtMs);
  expect(readImage(again).chunks).toEqual(readImage(writeImage(samples().firewall!)).chunks);
  expect([...listFlows(router.conntrack, content.frozenAtMs)]).toEqual([
    "tcp 6 432000 ESTABLISHED src=10.1.0.2 dst=10.2.0.2 sport=4000 dport=80 src=10.2.0.2 dst=10.2.0.1 sport=80 dport=4000 [ASSURED] mark=7",
    "udp 17 30 src=10.1.0.2 dst=10.2.0.2 sport=1000 dport=53 [UNREPLIED] src=10.2.0.2 dst=10.1.0.2 sport=53 dport=1000 mark=0 zone=3",
    "icmpv6 58 29 src=101:101:101:101:101:101:101:101 dst=202:202:202:202:202:202:202:202 type=128 code=0 id=4660 " +
    "src=202:202:202:202:202:202:202:202 dst=101:101:101:101:101:101:101:101 type=129 code=0 id=4660 mark=0",
  ]);
});

test("what cannot be is refused, and said where and why", () => {
  const good = [
    6,
    0,
    [0x0a010002, 0x0a020002, (4000 << 16) | 80],
    [0x0a020002, 0x0a010002, ((80 << 16) | 4000) >>> 0],
    0x8,
    0,
    1_000,
    null,
    [...new Array(12).fill(0), 3 << 24],
    [],
  ];
  const image = (flow: unknown[], count = 1): Uint8Array =>
    writeImage({
      kind: Kind.Firewall,
      body: [START_MS, `{"nftables":[]}`, count],
      chunks: [encodeCbor(flow as never)],
    });
  expect(readFirewallImage(image(good)).flows).toHaveLength(1);
  const bad: [number, unknown, RegExp][] = [
    [0, 256, /protocol/],
    [1, 65_536, /zone/],
    [2, [1, 2], /ten fields/],
    [2, [0xf000_0001, 2, 3], /no address/],
    [2, [new Uint8Array(16), 2, 3], /two families/],
    [4, 0x2, /not in the table/],
    [4, 0x1008, /bits that mean nothing/],
    [5, -1, /mark/],
    [6, 1e13, /too long/],
    [7, 5, /interface/],
    [8, [1], /13 words/],
    [8, [...new Array(11).fill(0), 15 << 16, 3 << 24], /scaled/],
    [8, [...new Array(12).fill(0), 12 * 2 ** 24], /no state/],
    [9, [1], /four/],
  ];
  for (const [at, value, why] of bad) {
    const flow = good.with(at, value as never);
    expect(() => readFirewallImage(image(flow)), `${at}`).toThrow(why);
    expect(() => readFirewallImage(image(flow)), `${at}`).toThrow(ImageError);
  }
  const said = [1, "a.example", 7, Uint8Array.of(22)];
  expect(readFirewallImage(image([...good, said])).flows[0]!.said).toEqual(
    { kind: "tls", name: "a.example", start: 7, bytes: Uint8Array.of(22) },
  );
  cddl.check("firewall-flow", [...good, said]);
  for (
    const [at, value, why] of [
      [0, 4, /of no kind/],
      [1, "x".repeat(254), /no host/],
      [0, 3, /without words/],
      [2, -1, /begins nowhere/],
      [3, new Uint8Array(16_385), /too many/],
    ] as const
  ) expect(() => readFirewallImage(image([...good, said.with(at, value)]))).toThrow(why);
  expect(() => readFirewallImage(image([...good, 5]))).toThrow(/ten fields/);
  expect(() => readFirewallImage(image(good, 2))).toThrow(/1 flows, expected 2/);
  const rules = writeImage({ kind: Kind.Firewall, body: [START_MS, `{"nftables":[{"nonsense":1}]}`, 0] });
  expect(() => readFirewallImage(rules)).toThrow(/rules cannot be read/);
  expect(() => readFirewallImage(writeImage({ kind: Kind.Node, body: null }))).toThrow(ImageError);
});
