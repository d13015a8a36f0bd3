import { UserTimeoutNews } from "../../../net/tcp/user_timeout.ts";
import { expect, test } from "vitest";
import { seqLess } from "../../../base/sequence.ts";
import { Prng } from "../../../base/random.ts";
import { DEFAULT_TCP_CONFIG } from "../../../net/tcp/config.ts";
import { Hystart } from "../../../net/tcp/congestion/hystart.ts";
import { freezeTcb, thawTcb } from "../../../net/tcp/freeze.ts";
import { type FrozenTcb, frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { flightSize, Tcb, TcpState } from "../../../net/tcp/tcb.ts";
import { timestampNow } from "../../../net/tcp/timestamp.ts";

const NOW_MS = 1_700_000_000_123.625;

/** What a TCB has beside its frozen state, and why that is not lost. */
const NOT_FROZEN = [
  "slot record listener", // its place in this process
  "error", // none, or the connection is over
  "events outputQueued saving", // none, or it cannot be saved
  "firewallGeneration firewallRule firewallInterface pathGeneration", // caches
  "sentStampMs", // the latest of the times in `sent`
  "drowsy", // who wakes for more says so
  "attachment", // in the image, beside the tuple
  "challengeAtMs", // a sleeper's, while it matters, in net/wake/challenges.ts
].join(" ").split(" ");

/** Times that are kept as whole milliseconds. */
const TIMES = /Ms$/;

/** Not to the millisecond: whole numbers of which each may lose a part. */
const ROUGH = /imitedMs$|^limitedSinceMs$|^lastReceivedMs$|^lastAckMs$/;

/** A TCB in any state, full of values that differ from the defaults. */
function anyTcb(prng: Prng): Tcb {
  const tcb = new Tcb(0);
  const fields = tcb as unknown as Record<string, unknown>;
  for (const [name, value] of Object.entries(fields)) {
    if (NOT_FROZEN.includes(name)) continue;
    if (typeof value === "boolean") fields[name] = prng.chance(0.5);
    else if (typeof value === "number") {
      fields[name] = TIMES.test(name)
        ? prng.chance(0.3) && /(At|Epoch)Ms$/.test(name) ? Infinity : NOW_MS - prng.between(-100_000, 100_000)
        : prng.between(0, 60_000);
    }
  }
  for (const name of ["keepAliveIdleMs", "keepAliveIntervalMs", "userTimeoutMs", "rtoMs"]) {
    fields[name] = prng.below(100_000);
  }
  for (const name of ["localAddress", "remoteAddress", "tsOffset", "tsRecent"]) {
    fields[name] = prng.uint32() & ~0x4000_0000; // no class E, which would be handles
  }
  tcb.state = prng.between(TcpState.synSent, TcpState.timeWait) as TcpState;
  tcb.tsRecentAtMs = NOW_MS - prng.below(100_000);
  tcb.lastActivityMs = NOW_MS - prng.below(100_000);
  tcb.cubicKMs = prng.below(100_000);
  tcb.cubicPriorKMs = prng.below(100_000);
  tcb.hystartRoundAtMs = NOW_MS - prng.below(10_000);
  tcb.hystartTrainAtMs = NOW_MS - prng.below(10_000);
  tcb.cwndFullAtMs = NOW_MS - prng.below(100_000);
  tcb.backoff = prng.below(5);
  tcb.rcvShift = prng.between(-1, 14);
  tcb.sndShift = prng.between(0, 14);
  tcb.sndUna = prng.uint32() | 0;
  tcb.rcvNxt = prng.uint32() | 0;
  const ahead = "sndMax sndWl2 highSeq rttSeq fack rackEnd probeSeq undoMarker retransmitHint".split(" ");
  for (const name of ["iss", ...ahead]) {
    fields[name] = (tcb.sndUna + (name === "iss" ? -1 : 1) * prng.below(1 << 20)) | 0;
  }
  for (const name of ["cwndUsageEnd", "hystartRoundEnd"]) {
    fields[name] = (tcb.sndUna + prng.below(1 << 20)) | 0;
  }
  tcb.hystart = prng.below(5);
  tcb.userTimeoutNews = prng.below(4) as UserTimeoutNews;
  tcb.userTimeoutToldEnd = (tcb.sndUna + prng.below(1 << 20)) | 0;
  tcb.tooBigSeq = (tcb.sndUna + prng.below(1 << 20)) | 0;
  tcb.provenBytes = prng.chance(0.5) ? 0 : tcb.sndMss;
  tcb.receiveSpaceSeq = (tcb.rcvNxt - prng.below(1 << 20)) | 0;
  tcb.receiveSpaceAtMs = NOW_MS - prng.below(4_000);
  tcb.receiveSpaceBytes = prng.between(1, 1 << 20);
  for (const name of ["irs", "rcvAdv", "sndWl1", "lastAckSent", "finAhead", "dsackStart", "dsackEnd"]) {
    fields[name] = (tcb.rcvNxt + (name === "irs" ? -1 : 1) * prng.below(1 << 20)) | 0;
  }
  tcb.mtuProbedAtMs = NOW_MS - prng.below(100_000);
  tcb.sndUp = (tcb.sndUna + prng.between(1, 1 << 20)) | 0;
  tcb.rcvUp = (tcb.rcvNxt + prng.between(1, 1 << 20)) | 0;
  tcb.sndWndMax = tcb.sndWnd + prng.below(1000);
  if (prng.chance(0.5)) tcb.retransmits = 0;
  const random = (length: number): Uint8Array<ArrayBuffer> => {
    const bytes = new Uint8Array(length);
    prng.fill(bytes);
    return bytes;
  };
  const sent = random(prng.pick([0, 1, 5_000])), received = random(prng.pick([0, 1, 3_000]));
  tcb.sendQueue.append(random(700), 0, 700); // so that the ring wraps
  tcb.sendQueue.drop(700, true);
  tcb.sendQueue.append(sent, 0, sent.length);
  tcb.receiveQueue.append(received, 0, received.length);
  let at = 0;
  for (let run = prng.below(4); run > 0; run--) {
    const start = at + prng.between(1, 500), bytes = random(prng.between(1, 900));
    at = start + bytes.length;
    tcb.receiveQueue.place(received.length + start, bytes, 0, bytes.length);
    tcb.ahead.push(start, at);
  }
  if (prng.chance(0.5)) tcb.sndMax = tcb.sndUna;
  for (let sequence = tcb.sndUna; sequence !== tcb.sndMax;) {
    const end = (sequence + Math.min((tcb.sndMax - sequence) | 0, prng.between(1, 100_000))) | 0;
    tcb.sent.push(sequence, end, prng.below(256), NOW_MS - prng.below(5_000) / 8);
    sequence = end;
  }
  for (let end = prng.below(4), at = 0; end > 0; end--) {
    tcb.records.push((tcb.sndUna + (at += prng.between(1, 1 << 16))) | 0);
  }
  tcb.minRttUs = prng.between(-1, 1_000_000);
  tcb.undoRetrans = prng.between(-1, 10);
  if (prng.chance(0.5)) tcb.retransmitStampMs = -1;
  if (prng.chance(0.5)) tcb.rackSentMs = 0;
  const base = Math.floor(NOW_MS);
  for (const name of ["rackSentMs", "retransmitStampMs", "minRttAtMs"] as const) {
    if (tcb[name] > 0) tcb[name] = base - prng.below(8_000) / 8; // kept to the microsecond
    tcb.minRttAtMs = base - prng.below(300) * 1000; // to the second
  }
  for (let block = prng.below(5); block > 0; block--) {
    tcb.sackBlocks.push((tcb.rcvNxt + prng.between(1, 999)) | 0, (tcb.rcvNxt + prng.between(1, 999)) | 0);
  }
  return tcb;
}

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
