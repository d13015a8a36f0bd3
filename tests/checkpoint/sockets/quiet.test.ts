import { Buffer } from "node:buffer";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { mistakeIn } from "../../../checkpoint/sockets/check.ts";
import { putQuiet } from "../../../checkpoint/sockets/encode_quiet.ts";
import { SOCKET_VERSION, writeSocketImage } from "../../../checkpoint/sockets/socket_image.ts";
import { bareOf } from "../../../checkpoint/store/bare.ts";
import { BareBatch } from "../../../checkpoint/store/bare_batch.ts";
import { freezeTcb } from "../../../net/tcp/freeze.ts";
import { FROZEN_TCB_ALWAYS, frozenTcbDefaults, frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { freezeQuiet, QuietTcb } from "../../../net/tcp/freeze_quiet.ts";
import { CaState, RetransmitTimer, Tcb, TcpState } from "../../../net/tcp/tcb.ts";
import { summarize, summarizeQuiet, SUMMARY_WORDS } from "../../../net/wake/summary.ts";
import { anyTcb, NOW_MS } from "../../net/tcp/any_tcb.ts";
import { SleepyPeer } from "../../net/wake/sleepy_peer.ts";
import { drawSeed } from "../../support/seed.ts";
import { quietTwin } from "./quiet_twin.ts";

const SEED = drawSeed("QUIET_SEED", 2 ** 31);
const RUNS = 320;
const { addresses } = new SleepyPeer().stack;

/** A connection with nothing in its queues, and else anything; the usual often. */
function quietTcb(prng: Prng): Tcb {
  const tcb = anyTcb(prng);
  tcb.state = TcpState.established;
  tcb.sendQueue.clear();
  tcb.receiveQueue.clear();
  tcb.sent.clear();
  for (const list of [tcb.ahead, tcb.sackBlocks, tcb.records]) list.length = 0;
  tcb.mtuProbing = tcb.sndUrgent = tcb.rcvUrgent = false;
  if (prng.chance(0.9)) tcb.sndMax = tcb.sndUna;
  const usual = prng.chance(0.5);
  for (const name of ["retransmitAtMs", "persistAtMs", "delayedAckAtMs", "expireAtMs"] as const) {
    if (usual || prng.chance(0.5)) tcb[name] = Infinity;
  }
  if (usual) {
    tcb.finQueued =
      tcb.finPending =
      tcb.ackNow =
      tcb.orphan =
      tcb.probeOut =
      tcb.dsackPending =
        false;
    tcb.ecnEcho = tcb.userTimeoutOption = false;
    tcb.pathMtuDiscovery = true;
    tcb.softError =
      tcb.typeOfService =
      tcb.userTimeoutMs =
      tcb.userTimeoutAdvertisedMs =
        0;
    tcb.userTimeoutHeardMs = tcb.userTimeoutNews = 0;
    tcb.timeToLive = 64;
    tcb.lastAckSent = tcb.sndWl1 = tcb.rcvNxt;
    tcb.rcvAdv = (tcb.rcvNxt + prng.below(60_000)) | 0;
    if (!tcb.keepAlive) tcb.keepAliveAtMs = Infinity;
  }
  if (prng.chance(0.3)) {
    tcb.localAddress = addresses.parse(prng.pick(["2001:db8::1", "fe80::1"]))!;
    tcb.remoteAddress = addresses.parse(`2001:db8::${prng.between(1, 9)}`)!;
  }
  return tcb;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("the short way of a quiet connection writes the same image and the same summary, byte for byte", () => {
  const quiet = new QuietTcb();
  const batch = new BareBatch(64); // too small: it grows
  const summaries = new Int32Array(2 * SUMMARY_WORDS);
  const images: Uint8Array[] = [];
  let records = 0;
  for (let run = 0; run < RUNS; run++) {
    const prng = new Prng(SEED + run);
    const tcb = quietTcb(prng);
    const attachment = prng.pick([undefined, undefined, null, 7, { user: "a" }, "x".repeat(300)]);
    const frozen = freezeTcb(tcb, NOW_MS, addresses);
    expect(freezeQuiet(tcb, NOW_MS, quiet), `seed ${SEED + run}`).toBe(true);
    const attached = attachment === undefined ? undefined : encodeCbor(attachment);
    putQuiet(quiet, attached, addresses, SOCKET_VERSION, batch);
    images.push(bareOf(writeSocketImage(frozen, attachment))!);
    summarize(frozen, summaries, 0);
    summarizeQuiet(tcb, quiet.numbers, addresses, summaries, SUMMARY_WORDS);
    const [slow, short] = [summaries.slice(0, SUMMARY_WORDS), summaries.slice(SUMMARY_WORDS)];
    expect(short, `seed ${SEED + run}`).toEqual(slow);
    if (slow[4] !== 0) records++;
  }
  for (const [index, image] of images.entries()) {
    const start = batch.recordEnd(index) - batch.recordBytes(index);
    const short = batch.bytes.subarray(start, batch.recordEnd(index));
    expect(hex(short), `seed ${SEED + index}`).toBe(hex(image));
  }
  expect(records).toBeGreaterThan(RUNS / 20); // not only keys
});

test("the short way of waking makes the same TCB of a quiet connection's image as the long way, field by field", () => {
  let short = 0;
  for (let run = 0; run < RUNS; run++) {
    const prng = new Prng(SEED + run);
    const tcb = quietTcb(prng);
    tcb.sackedOut = tcb.lostOut = tcb.retransOut = 0; // nothing is in flight
    tcb.caState = prng.pick([CaState.open, CaState.open, CaState.loss]);
    tcb.retransmitTimer = RetransmitTimer.none;
    tcb.congestion = prng.below(2);
    const attachment = prng.pick([
      undefined,
      undefined,
      null,
      7,
      { user: "a" },
      "x".repeat(300),
      Uint8Array.of(1),
    ]);
    const frozen = freezeTcb(tcb, NOW_MS, addresses);
    for (let name = mistakeIn(frozen); name !== undefined; name = mistakeIn(frozen)) { // drawn too large
      const place = frozenTcbFields.indexOf(name);
      (frozen as unknown[])[place] = frozenTcbDefaults[place - FROZEN_TCB_ALWAYS];
    }
    const bare = bareOf(writeSocketImage(frozen, attachment))!;
    const nowMs = NOW_MS + prng.pick([0, 0.5, 60_000, -3_000.25, 1e10]);
    const told = `seed ${SEED + run}`;
    try {
      if (quietTwin(bare, nowMs, anyTcb(prng))) short++;
    } catch (error) {
      throw new Error(told, { cause: error });
    }
    for (let damage = 0; damage < 8; damage++) {
      const damaged = bare.slice();
      damaged[prng.below(bare.length)] = prng.pick([
        prng.below(256),
        0x80,
        0x81,
        0x18,
        0x19,
        0x1a,
        0x1b,
        0x20,
        0xf6,
      ]);
      try {
        quietTwin(
          damaged.subarray(0, bare.length - (prng.chance(0.1) ? prng.below(9) : 0)),
          nowMs,
          new Tcb(0),
        );
      } catch (error) {
        throw new Error(`${told}, damage ${damage}`, { cause: error });
      }
    }
  }
  expect(short).toBeGreaterThan(RUNS / 2);
});

test("what is not quiet goes the long way, and no image holds what is no number", () => {
  const quiet = new QuietTcb();
  const spoil: ((tcb: Tcb) => void)[] = [
    (tcb) => tcb.state = TcpState.closeWait,
    (tcb) => tcb.sendQueue.append(Uint8Array.of(1), 0, 1),
    (tcb) => tcb.receiveQueue.append(Uint8Array.of(1), 0, 1),
    (tcb) => tcb.ahead.push(1, 2),
    (tcb) => tcb.sent.push(0, 1, 0, 0),
    (tcb) => tcb.sackBlocks.push(1, 2),
    (tcb) => tcb.records.push(1),
    (tcb) => tcb.protocolState = [1],
    (tcb) => tcb.mtuProbing = true,
    (tcb) => tcb.sndUrgent = true,
    (tcb) => tcb.rcvUrgent = true,
  ];
  for (const act of spoil) {
    const tcb = quietTcb(new Prng(1));
    act(tcb);
    expect(freezeQuiet(tcb, NOW_MS, quiet), String(act)).toBe(false);
  }
  const batch = new BareBatch(64);
  for (const name of ["srttUs", "bytesIn", "timeToLive", "fastOpen", "segmentsIn"] as const) {
    const tcb = quietTcb(new Prng(1));
    tcb[name] = NaN;
    freezeQuiet(tcb, NOW_MS, quiet);
    expect(() => putQuiet(quiet, undefined, addresses, SOCKET_VERSION, batch), name).toThrow(/not finite/);
    expect(() => writeSocketImage(freezeTcb(tcb, NOW_MS, addresses), undefined), name).toThrow(/not finite/);
  }
  expect(batch.count).toBe(0);
});
