import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { CtState, Hook } from "../../net/firewall/conntrack/state.ts";
import type { PacketTrack } from "../../net/firewall/conntrack/state.ts";
import type { Tracker } from "../../net/firewall/conntrack/tracker.ts";
import { NftCompiled } from "../../net/firewall/nft/compiled.ts";
import type { NftEnvironment } from "../../net/firewall/nft/environment.ts";
import { linkRules } from "../../net/firewall/nft/link.ts";
import { NftPacket } from "../../net/firewall/nft/packet.ts";
import { NftWalk } from "../../net/firewall/nft/walk.ts";
import { drawSeed } from "../support/seed.ts";
import { ANYWHERE, randomPacket } from "./random_packets.ts";
import { INTERFACES, PORTS } from "./random_values.ts";
import { RandomRules } from "./random_rules.ts";

const SEED = drawSeed("FIREWALL_SEED", 1_000_000);
const RUNS = Number(process.env["FIREWALL_RUNS"] ?? 60);
const PACKETS = 60;
const HOOKS = ["prerouting", "input", "forward", "output", "postrouting"] as const;

/** Marks by flow; all else that tracking knows is made up of the flow's number. */
class FakeTracker implements Partial<Tracker> {
  readonly marks = new Map<number, number>();
  mark(track: PacketTrack): number {
    return this.marks.get(track.flow) ?? 0;
  }
  zone(track: PacketTrack): number {
    return track.flow % 2;
  }
  status(track: PacketTrack): number {
    return 2 << track.flow;
  }
  expirationMs(track: PacketTrack): number {
    return 5_000 << (2 * track.flow);
  }
  protocol(track: PacketTrack): number {
    return [6, 17, 1][track.flow]!;
  }
  address(track: PacketTrack, direction: number, end: "source" | "destination"): number {
    return 0x0a010000 + track.flow + direction + (end === "source" ? 1 : 0);
  }
  port(track: PacketTrack, direction: number, end: "source" | "destination"): number {
    return PORTS[track.flow + direction + (end === "source" ? 1 : 0)]!;
  }
  packets(track: PacketTrack, direction: number): number {
    return track.flow + direction;
  }
  bytes(track: PacketTrack, direction: number): number {
    return 60 * (track.flow + direction);
  }
  setMark(track: PacketTrack, mark: number): void {
    this.marks.set(track.flow, mark);
  }
}

interface Logged {
  readonly lines: string[];
}

function environmentOf(seed: number): NftEnvironment & Logged {
  const random = new Prng(seed);
  const lines: string[] = [];
  return {
    tracker: new FakeTracker() as unknown as Tracker,
    fib: {
      type: (packet, destination) =>
        packet.slab.bytes[destination ? packet.start + 19 : packet.start + 15]! % 3 + 1,
      oif: (packet, destination) =>
        packet.slab.bytes[destination ? packet.start + 19 : packet.start + 15]! % 3 - 1,
      mss: (packet) => packet.oif < 0 ? -1 : 1_200,
    },
    random: () => random.uint32(),
    log: (log, rule) => lines.push(`${log.prefix} ${rule.rule.expr.length}`),
    trace: (_, chain, rule, code) => {
      lines.push(`${chain.name} ${rule === undefined ? "policy" : chain.rules.indexOf(rule)} ${code}`);
    },
    lines,
  };
}

test(`compiled rules decide, count and learn as the walk does (FIREWALL_SEED=${SEED})`, () => {
  const verdicts = new Map<number, number>();
  let matched = 0;
  let written = 0;
  for (let run = 0; run < RUNS; run++) {
    const prng = new Prng(SEED + run);
    const options = { hooks: HOOKS, tracked: true, timed: true, fib: true, queue: true, clockSeconds: 1_000 };
    const ruleset = new RandomRules(prng, options).ruleset();
    const linked = linkRules(ruleset, INTERFACES);
    let nowMs = 1_000_000;
    const environments = [environmentOf(run), environmentOf(run)] as const;
    const walk = new NftWalk(linked, environments[0], nowMs);
    let compiled = new NftCompiled(linked, environments[1], nowMs);
    const packets = [new NftPacket(), new NftPacket()] as const;
    const earlier: Way[] = [];
    for (let at = 0; at < PACKETS; at++) {
      // As often as not another packet of a flow that has been there, on the same way: what is remembered counts.
      const before = earlier.length > 0 && prng.chance(0.5) ? prng.pick(earlier) : undefined;
      const bytes = before === undefined ? randomPacket(prng, ANYWHERE) : another(prng, before.bytes);
      nowMs += prng.pick([0, 0, 1, 50, 700, 3_000]);
      const drawn = before ?? drawWay(prng, bytes);
      earlier.push(drawn);
      const { hook, way, track } = drawn;
      for (const packet of packets) {
        packet.moveTo(new Slab(bytes.slice()), 0, bytes.length, nowMs);
        Object.assign(packet, way);
        packet.traced = at % 5 === 4;
        Object.assign(packet.track, track);
      }
      const where = `FIREWALL_SEED=${SEED + run}, packet ${at}`;
      const expected = walk.judge(packets[0], hook);
      expect(compiled.judge(packets[1], hook), where).toBe(expected.verdict);
      expect(compiled.reject, where).toEqual(expected.reject);
      expect(packets[1].mark, where).toBe(packets[0].mark);
      expect(packets[1].track, where).toEqual(packets[0].track);
      if (packets[0].written) { // beyond Vitest, which is slow at comparing bytes
        expect(Buffer.compare(packets[1].slab.bytes, packets[0].slab.bytes), where).toBe(0);
        written++;
      }
      verdicts.set(expected.verdict, (verdicts.get(expected.verdict) ?? 0) + 1);
      matched += expected.steps.filter((step) => step.matched && step.rule !== undefined).length;
      if (at === PACKETS >> 1) { // goes on from what it has saved
        const saved = compiled.save(nowMs);
        compiled = new NftCompiled(linked, environments[1], nowMs);
        compiled.load(saved);
      }
    }
    const where = `FIREWALL_SEED=${SEED + run}`;
    expect(sorted(compiled.save(nowMs)), where).toEqual(sorted(walk.save(nowMs)));
    expect(environments[1].lines, where).toEqual(environments[0].lines);
  }
  // The twins were not merely idle together.
  for (const verdict of [0, 1, 2, 3]) expect(verdicts.get(verdict), `${verdict}`).toBeGreaterThan(RUNS / 8);
  expect(matched).toBeGreaterThan(RUNS * PACKETS / 4);
  expect(written).toBeGreaterThan(RUNS / 4);
});

/** A packet, and what is known of it beside its bytes. */
interface Way {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly hook: Hook;
  readonly way: { readonly iif: number; readonly oif: number; readonly mark: number };
  readonly track: Pick<PacketTrack, "flow" | "state" | "direction">;
}

function drawWay(prng: Prng, bytes: Uint8Array<ArrayBuffer>): Way {
  const flow = prng.between(-1, 2);
  return {
    bytes,
    hook: Hook[prng.pick(HOOKS)],
    way: { iif: prng.between(-1, 2), oif: prng.between(-1, 2), mark: prng.below(3) },
    track: {
      flow,
      state: flow < 0 ? CtState.invalid : prng.pick([CtState.new, CtState.established, CtState.related]),
      direction: prng.pick([0, 1] as const),
    },
  };
}

/** Another packet of the same flow: what is remembered of a flow must not be what only one packet was. */
function another(prng: Prng, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const shorter = prng.chance(0.3) ? prng.pick([1, 40, 99, 100]) : 0;
  const made = bytes.slice(0, Math.max(Math.min(100, bytes.length), bytes.length - shorter));
  const six = made[0]! >>> 4 === 6;
  if (prng.chance(0.3)) made[six ? 7 : 8] = prng.pick([1, 2, 64, 255]);
  const transport = six ? 40 : (made[0]! & 15) * 4;
  if (made[six ? 6 : 9] === 6 && made.length > transport + 13 && prng.chance(0.5)) {
    made[transport + 13] = prng.pick([2, 0x12, 0x10, 4, 1]);
  }
  return made;
}

/** The same state, elements of sets in an order that both evaluations agree on. */
function sorted(state: ReturnType<NftWalk["save"]>): unknown {
  const text = (value: unknown): string =>
    JSON.stringify(
      value,
      (_, each) => (typeof each === "bigint" ? `${each}` : each === Infinity ? "for ever" : each),
    );
  return { ...state, sets: state.sets.map((elements) => elements.map(text).sort()) };
}
