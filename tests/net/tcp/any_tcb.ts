import type { Prng } from "../../../base/random.ts";
import { Tcb, TcpState } from "../../../net/tcp/tcb.ts";
import type { UserTimeoutNews } from "../../../net/tcp/user_timeout.ts";

/** When `anyTcb` is. */
export const NOW_MS = 1_700_000_000_123.625;

/** What a TCB has beside its frozen state, and why that is not lost. */
export const NOT_FROZEN = [
  "slot serial record listener", // its place in this process
  "error", // none, or the connection is over
  "events outputQueued saving", // none, or it cannot be saved
  "firewallGeneration firewallRule firewallInterface pathGeneration", // caches
  "sentStampMs", // the latest of the times in `sent`
  "drowsy", // who wakes for more says so
  "given", // who lets go of it says so
  "attachment", // in the image, beside the tuple
  "challengeAtMs", // a sleeper's, while it matters, in net/wake/challenges.ts
].join(" ").split(" ");

/** Times that are kept as whole milliseconds. */
export const TIMES = /Ms$/;

/** A TCB in any state, full of values that differ from the defaults. */
export function anyTcb(prng: Prng): Tcb {
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
