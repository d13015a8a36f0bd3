import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { mistakeIn } from "../../../checkpoint/sockets/check.ts";
import { Field } from "../../../net/connections/connection_map.ts";
import { Stack } from "../../../net/stack.ts";
import { freezeTcb } from "../../../net/tcp/freeze.ts";
import { FrozenFlag, type FrozenTcb, frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { tcpReceive } from "../../../net/tcp/user.ts";
import {
  summarize,
  summarizedKey,
  Summary,
  SUMMARY_WORDS,
  SummaryKind,
  summaryKind,
} from "../../../net/wake/summary.ts";
import { drawSeed } from "../../support/seed.ts";
import { SleepyPeer } from "./sleepy_peer.ts";

const SEED = drawSeed("SUMMARY_SEED", 2 ** 31);
const RUNS = 1_000;
const DAY_MS = 86_400_000;

function frozenSleeper(): FrozenTcb {
  const peer = new SleepyPeer();
  peer.open();
  peer.in({
    sequence: peer.tcb.rcvNxt,
    acknowledgment: peer.tcb.sndMax,
    data: new Uint8Array(500),
    tsVal: 1_000_100,
    tsEcr: peer.nowMs + peer.tcb.tsOffset,
  });
  tcpReceive(peer.stack.tcp, peer.tcb, new Uint8Array(500), 0, 500);
  peer.pass(1_000);
  peer.sleep();
  return peer.frozen!;
}

/** Any state of a connection that an image may hold, the quiet ones often. */
function drawFrozen(prng: Prng, base: FrozenTcb): FrozenTcb {
  const frozen = [...base] as unknown[];
  const at = (name: string): number => frozenTcbFields.indexOf(name);
  const few = prng.pick([0.01, 0.03, 0.2]); // what makes a sleeper a special one
  const often = prng.pick([0, 0.5]);
  const set = (chance: number, name: string, values: readonly unknown[]): void => {
    if (prng.chance(chance)) frozen[at(name)] = prng.pick(values);
  };
  const any = (): number => prng.uint32();
  set(few, "state", [3, 4, 5, 6, 7, 8, 9]);
  set(0.3, "state", [3, 5]);
  for (const flag of Object.values(FrozenFlag)) {
    if (prng.chance(few)) (frozen[at("flags")] as number) ^= flag;
  }
  for (const flag of [FrozenFlag.timestamps, FrozenFlag.sackPermitted, FrozenFlag.keepAlive]) {
    if (prng.chance(often)) (frozen[at("flags")] as number) ^= flag;
  }
  set(often, "sndUna", [0, any()]);
  set(often, "rcvNxt", [0, any()]);
  set(often, "sndWnd", [0, 65_535, prng.below(2 ** 30)]);
  set(few, "sndWl1Behind", [-1, 0, 7]);
  set(often, "sndShift", [0, 7, 14]);
  set(often, "peerMss", [536, 1_460, 8_960]);
  set(often, "rcvAdvOffset", [0, 1, 1_000, 65_535, 131_072, 2_000_000]);
  set(often, "rcvShift", [-1, 0, 3, 7, 14]);
  set(often, "tsOffset", [0, any()]);
  set(often, "tsRecent", [0, any()]);
  set(often, "tsRecentAgeMs", [0, prng.below(100 * DAY_MS)]);
  set(often, "keepAliveIn", [null, -5, 0, 40, 7_200_000, 3e9]);
  set(often, "keepAliveIdleMs", [1_000, 7_200_000, 3e9]);
  set(often, "keepAliveIntervalMs", [1, 75_000]);
  set(often, "keepAliveProbes", [0, 9, 100]);
  set(few, "keepAlives", [1, 3]);
  set(few, "userTimeoutMs", [1, 30_000]);
  set(few, "userTimeoutState", [[1], [1, 30_000], [0, 5]]);
  set(often, "bufferState", [[], [0, 5_000], [1], [1, 0, 7, 1_460, 3], [0, -130_000]]);
  set(often, "receiveBufferBytes", [2_304, 4_096, 1_000_000]);
  set(few, "receiveQueue", [new Uint8Array(1), new Uint8Array(5_000)]);
  set(few, "typeOfService", [4, 184]);
  set(few, "timeToLive", [1, 255]);
  set(few, "softError", [113]);
  set(few, "lastAckSentBehind", [-1, 1, 100]);
  for (const name of ["delayedAckIn", "retransmitIn", "persistIn", "expireIn"]) {
    set(few, name, [-3, 0, 5, 60_000]);
  }
  set(few, "ahead", [[[1, new Uint8Array(3)]]]);
  set(few, "ecnState", [[], [1], [5], [7, 3], [15], [1, 2], [1, 0, 3, 3, 3, 0, 1, 1, 0, 0, 0, 0]]);
  set(few, "options", [[1], [0, 0, 0, 0, 0, 0, 1], [1, 5, 0, 0, 0, 0, 0, 2]]);
  if (prng.chance(few)) {
    const state = [...frozen[at("recoveryState")] as number[]];
    while (state.length < 33) state.push(0);
    if (prng.chance(0.5)) state[7]! |= prng.pick([8, 256, 1, 4, 16, 64]);
    if (prng.chance(0.5)) state.push(10, 20);
    frozen[at("recoveryState")] = state;
  }
  if (prng.chance(few)) frozen[at("recoveryState")] = [];
  if (prng.chance(few)) {
    frozen[at("sendQueue")] = new Uint8Array(70);
    if (prng.chance(0.5)) {
      frozen[at("sndMaxOffset")] = 60;
      frozen[at("sent")] = [0, 20, 0, 1_000, 40, 0, 0];
    }
  }
  if (prng.chance(0.3)) {
    const draw = (): Uint8Array => {
      const bytes = new Uint8Array(16);
      prng.fill(bytes);
      bytes.set(prng.chance(0.2) ? [0xfe, 0x80, 0, 1] : [0x20, 0x01]);
      return bytes;
    };
    frozen[at("localAddress")] = draw();
    frozen[at("remoteAddress")] = draw();
  } else set(often, "remoteAddress", [0x0a000002, 0xc0a80105, prng.below(0xe000_0000)]);
  set(often, "localPort", [22, 65_535]);
  set(often, "remotePort", [1, 51_000]);
  return frozen as FrozenTcb;
}

/** A host that has the address of IPv4 sleepers. */
function newStack(nowMs: number, frozen: FrozenTcb): Stack {
  const stack = new Stack({ nowMs, entropy: new Prng(1) });
  stack.addInterface({ name: "net0", link: { medium: "ip", mtu: 1500, send: () => true, flush: () => {} } });
  stack.setRoutes({ addresses: [{ address: "10.0.0.1/24" }] });
  const nobody = new SleepyPeer(); // who answers nothing
  nobody.frozen = frozen;
  stack.sleepers.owner = nobody;
  return stack;
}

/** All that is known of a sleeper: its record, its deadline where that counts, and the connection that wakes. */
function knownOf(
  stack: Stack,
  record: number,
  deadlineMs: number,
  frozen: FrozenTcb,
  nowMs: number,
): unknown {
  const words = Object.values(Field).map((field) => stack.connections.get(record, field));
  const isOurs = stack.isOurs(stack.connections.get(record, Field.localAddress));
  const id = stack.idOf(record);
  stack.sleepers.wake(record, nowMs);
  const tcb = stack.sleepers.resume(record, frozen, undefined, nowMs);
  return {
    words,
    id,
    deadlineMs: isOurs ? deadlineMs : Infinity,
    woken: freezeTcb(tcb, nowMs, stack.addresses),
  };
}

test("a connection that is adopted by its summary is known as one that is adopted by its image", () => {
  const base = frozenSleeper();
  const seen = { whole: 0, keyOnly: 0, setBack: 0, asked: 0, ipv6: 0, unreachable: 0 };
  for (let run = 0; run < RUNS; run++) {
    const told = `SUMMARY_SEED=${SEED}, run ${run}`;
    const prng = new Prng(SEED + run);
    const frozen = drawFrozen(prng, base);
    if (mistakeIn(frozen) !== undefined) continue;
    const [frozenAtMs] = frozen;
    const nowMs = frozenAtMs + prng.pick([1_000, 1_001, 60_000, 40 * DAY_MS, 0, 5, -1, -3_600_000]);
    const location = prng.pick([0, 5, 2 ** 32 - 1, 2 ** 32 * 70_000 + 12_345]);
    const [byImage, bySummary] = [newStack(nowMs, frozen), newStack(nowMs, frozen)];
    const adopted = byImage.sleepers.adopt(frozen, location, nowMs);
    const words = new Int32Array(3 + SUMMARY_WORDS);
    summarize(frozen, words, 3);
    const columns = Array.from({ length: SUMMARY_WORDS }, (_, at) => Int32Array.of(words[3 + at]!, 99));
    const { left, deadlines, unreachable } = bySummary.sleepers.adoptSummaries(
      1,
      Float64Array.of(location, 7),
      columns,
      nowMs,
    );
    const kind = summaryKind(words[3 + Summary.tag]!);
    expect(summarizedKey(words.subarray(3)).slice(1), told).toEqual(frozen.slice(1, 5));
    if (left.length > 0) {
      expect(bySummary.connections.size, told).toBe(0);
      if ((kind & SummaryKind.keyOnly) === 0) seen.setBack++;
      else seen.keyOnly++;
      if (nowMs >= frozenAtMs + 1_000) expect(kind & SummaryKind.keyOnly, told).not.toBe(0);
      continue;
    }
    seen.whole++;
    if ((kind & SummaryKind.asked) !== 0) seen.asked++;
    if ((kind & SummaryKind.ipv6) !== 0) seen.ipv6++;
    seen.unreachable += unreachable.length;
    expect(bySummary.connections.size, told).toBe(1);
    const record = 0;
    expect(adopted.record).toBe(record);
    const isOurs = bySummary.isOurs(bySummary.connections.get(record, Field.localAddress));
    expect(unreachable, told).toEqual(isOurs ? [] : [record]);
    const [, deadlineMs = Infinity] = deadlines;
    expect(knownOf(bySummary, record, deadlineMs, frozen, nowMs), told).toEqual(
      knownOf(byImage, record, adopted.deadlineMs, frozen, nowMs),
    );
  }
  // Each way was gone often enough for the words above to mean something.
  expect(Math.min(...Object.values(seen)), JSON.stringify(seen)).toBeGreaterThan(RUNS / 100);
});

test("an ordinary sleeper's summary is whole: none of them is read when a process starts", () => {
  const words = new Int32Array(SUMMARY_WORDS);
  summarize(frozenSleeper(), words);
  expect(summaryKind(words[Summary.tag]!)).toBe(0);
});

test("adoptSummaries(): of a connection that is known the image decides, and what another Torpor wrote is left", () => {
  const frozen = frozenSleeper();
  const nowMs = frozen[0] + 5_000;
  const stack = newStack(nowMs, frozenSleeper());
  const words = new Int32Array(SUMMARY_WORDS);
  summarize(frozen, words);
  const columns = (tag: number): Int32Array[] =>
    Array.from(words, (word, at) => Int32Array.of(at === Summary.tag ? tag : word));
  const tag = words[Summary.tag]!;
  const adopt = (columns: readonly Int32Array[]): number[] =>
    stack.sleepers.adoptSummaries(1, Float64Array.of(3), columns, nowMs).left;
  expect(adopt(columns(tag + 256))).toEqual([0]);
  expect(adopt(columns(0))).toEqual([0]);
  expect(adopt(columns(tag).slice(1))).toEqual([0]);
  expect(stack.connections.size).toBe(0);
  expect(adopt(columns(tag))).toEqual([]);
  expect(stack.connections.asleep).toBe(1);
  expect(adopt(columns(tag))).toEqual([0]);
  expect(stack.connections.asleep).toBe(1);
});
