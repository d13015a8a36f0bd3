import { UserTimeoutNews } from "../../../net/tcp/user_timeout.ts";
import { expect, test } from "vitest";
import { seqLess } from "../../../base/sequence.ts";
import { Prng } from "../../../base/random.ts";
import { DEFAULT_TCP_CONFIG } from "../../../net/tcp/config.ts";
import { Hystart } from "../../../net/tcp/congestion/hystart.ts";
import { freezeTcb, thawTcb } from "../../../net/tcp/freeze.ts";
import { type FrozenTcb, frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { anyTcb, NOT_FROZEN, NOW_MS, TIMES } from "./any_tcb.ts";
import { flightSize, Tcb, TcpState } from "../../../net/tcp/tcb.ts";
import { timestampNow } from "../../../net/tcp/timestamp.ts";

/** Not to the millisecond: whole numbers of which each may lose a part. */
const ROUGH = /imitedMs$|^limitedSinceMs$|^lastReceivedMs$|^lastAckMs$/;

/** What a TCB knows of the segments in flight. */
function sentOf(tcb: Tcb): unknown {
  const { sent } = tcb;
  return Array.from({ length: sent.length }, (_, place) => {
    const at = sent.slot(place);
    return [sent.sequence[at], sent.end[at], sent.flags[at], Math.round(sent.sentMs[at]! * 1000)];
  });
}

/** Fields that mean nothing, and are not kept, in some states. */
function meansNothing(tcb: Tcb, name: string): boolean {
  if (!tcb.dsackPending && name.startsWith("dsack") && name !== "dsackDups") return true;
  if (tcb.sent.length === 0 && name === "retransmitHint") return true;
  if (tcb.rackSentMs === 0 && name === "rackEnd") return true;
  if (tcb.sackedOut === 0 && name === "fack") return true;
  if (name === "smallEnd" && !seqLess(tcb.sndUna, tcb.smallEnd)) return true;
  if (tcb.minRttUs < 0 && name === "minRttAtMs") return true;
  if (tcb.userTimeoutNews !== UserTimeoutNews.toldInData && name === "userTimeoutToldEnd") return true;
  if (tcb.tooBigMtu === 0 && name === "tooBigSeq") return true;
  return (!tcb.probeOut && name === "probeSeq") || (!tcb.undoArmed && name === "undoMarker");
}

function thawed(frozen: FrozenTcb, nowMs: number): Tcb {
  const tcb = new Tcb(0);
  thawTcb(frozen, tcb, DEFAULT_TCP_CONFIG, nowMs);
  return tcb;
}

test("freeze, thaw and freeze again gives the same tuple, in every state", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const tcb = anyTcb(new Prng(seed));
    const frozen = freezeTcb(tcb, NOW_MS);
    expect(frozen.length).toBe(frozenTcbFields.length);
    expect(freezeTcb(thawed(frozen, NOW_MS), NOW_MS), `seed ${seed}`).toEqual(frozen);
  }
});

test("every field of a TCB comes back: the numbers exactly, the times to the millisecond", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const tcb = anyTcb(new Prng(seed));
    const back = thawed(freezeTcb(tcb, NOW_MS), NOW_MS) as unknown as Record<string, unknown>;
    for (const [name, value] of Object.entries(tcb)) {
      if (NOT_FROZEN.includes(name)) continue;
      const where = `seed ${seed}, ${name}`;
      // Meaningless, and not kept, while nothing is timed, pending, stuck or recently sent.
      if (!tcb.rttTiming && name === "rttStartMs") continue;
      if (meansNothing(tcb, name)) continue;
      if (name === "sent") {
        expect(sentOf(back as unknown as Tcb), where).toEqual(sentOf(tcb));
        continue;
      }
      if (!tcb.finPending && name === "finAhead") continue;
      if (!tcb.timestamps && name === "tsRecentAtMs") continue;
      if (tcb.retransmits === 0 && name === "stuckSinceMs") continue;
      if (!tcb.sndUrgent && name === "sndUp" || !tcb.rcvUrgent && name === "rcvUp") continue;
      if (!tcb.mtuProbing && name.startsWith("mtu")) continue;
      if (tcb.mtuProbeSize === 0 && name.startsWith("mtuProbe")) continue;
      if (tcb.persists === 0 && name === "persistSinceMs") continue;
      if (tcb.limit === 0 && name === "limitedSinceMs") continue;
      if (name === "lastSentMs" && back[name] === -Infinity) continue;
      if (tcb.hystart !== Hystart.classic && /^hystart.*AtMs$/.test(name)) continue;
      if (tcb.hystart === 0 && name === "hystartRoundEnd") continue;
      if (flightSize(tcb) === 0 && (name === "cwndUsageEnd" || name === "cwndFlightMax")) continue;
      if (back["lastSentMs"] === -Infinity && (name === "cwndFullAtMs" || name === "cwndUsedBytes")) continue;
      if (back["receiveSpaceAtMs"] === -Infinity && /^receive(Space|Rtt|Echoed)/.test(name)) continue;
      if (name === "sendQueue" || name === "receiveQueue") {
        expect((back[name] as Tcb["sendQueue"]).toBytes(), where).toEqual(tcb[name].toBytes());
      } else if (TIMES.test(name) && value !== Infinity) {
        // What lies ahead of the clock, in a time that should be past, is now.
        const since = name !== "lastSentMs" && name !== "rttStartMs" && name !== "stuckSinceMs" &&
          name !== "persistSinceMs" && name !== "cwndFullAtMs" && name !== "receiveSpaceAtMs" &&
          !/^cubic|^hystart/.test(name);
        const past = since ? value as number : Math.min(value as number, NOW_MS);
        expect(Math.abs(back[name] as number - past), where).toBeLessThanOrEqual(ROUGH.test(name) ? 2 : 1);
      } else expect(back[name], where).toEqual(value);
    }
    for (let at = 0; at < tcb.ahead.length; at += 2) {
      const start = tcb.ahead[at]!, length = tcb.ahead[at + 1]! - start;
      const other = back["receiveQueue"] as Tcb["receiveQueue"];
      expect(other.placed(other.length + start, length)).toEqual(
        tcb.receiveQueue.placed(tcb.receiveQueue.length + start, length),
      );
    }
  }
});

test("deadlines keep their distance, and what passed meanwhile is due", () => {
  const tcb = anyTcb(new Prng(1));
  tcb.retransmitAtMs = NOW_MS + 200;
  tcb.keepAliveAtMs = NOW_MS + 7_200_000;
  tcb.persistAtMs = Infinity;
  const frozen = freezeTcb(tcb, NOW_MS);
  const later = thawed(frozen, NOW_MS + 3_600_000);
  expect(later.retransmitAtMs).toBeLessThan(NOW_MS + 3_600_000);
  expect(later.keepAliveAtMs).toBeCloseTo(NOW_MS + 7_200_000, -1);
  expect(later.persistAtMs).toBe(Infinity);
  const years = thawed(frozen, NOW_MS + 1e12);
  expect(years.keepAliveAtMs).toBeLessThan(NOW_MS + 1e12);
  expect(
    freezeTcb(years, NOW_MS + 1e12).every((value) =>
      typeof value !== "number" || Number.isSafeInteger(value)
    ),
  )
    .toBe(true);
});

test("a clock that was set back: no time has passed, and timestamps do not run backward", () => {
  for (const backMs of [1, 3_600_000, 2 ** 31, 40 * 365 * 86_400_000]) {
    const tcb = anyTcb(new Prng(2));
    tcb.timestamps = true;
    tcb.retransmitAtMs = NOW_MS + 200;
    const frozen = freezeTcb(tcb, NOW_MS);
    const back = thawed(frozen, NOW_MS - backMs);
    expect(timestampNow(back, NOW_MS - backMs), `${backMs}`).toBe(timestampNow(tcb, NOW_MS));
    expect(Math.abs(back.retransmitAtMs - (NOW_MS - backMs) - 200)).toBeLessThanOrEqual(1);
    expect(back.tsRecentAtMs).toBeLessThanOrEqual(NOW_MS - backMs);
  }
});

test("a closed connection cannot be frozen", () => {
  expect(() => freezeTcb(new Tcb(0), NOW_MS)).toThrow("no state");
});

test("a connection that has sent nothing but its SYN-ACK can be frozen: it is not known when data left", () => {
  const tcb = new Tcb(0);
  tcb.state = TcpState.synReceived;
  tcb.sndMax = tcb.sndUna + 1;
  const frozen = freezeTcb(tcb, NOW_MS);
  expect(frozen[frozenTcbFields.indexOf("sentAgoMs")]).toBe(null);
  const thawed = new Tcb(0);
  thawTcb(frozen, thawed, DEFAULT_TCP_CONFIG, NOW_MS);
  expect(thawed.lastSentMs).toBe(-Infinity);
});
