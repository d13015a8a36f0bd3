import type { ForkOptions } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { Prng } from "../../base/random.ts";
import { drive, type Failure } from "./workers.ts";

/** A bug made on purpose: one place of the code, changed. The simulator must notice. */
export interface Canary {
  readonly name: string;
  readonly what: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  /** Worlds within which it must be caught: about ten times what it took on average. */
  readonly runsMax: number;
}

/** The code that is broken, as it stands: a canary whose place is gone fails a test. */
export const CANARIES: readonly Canary[] = [
  {
    name: "window-off-by-one",
    what: "one byte more is sent than the peer's window admits",
    file: "net/tcp/output.ts",
    find: "  const length = Math.min(unsent, mss, record, force ? Math.max(usable, 1) : usable);",
    replace: "  const length = Math.min(unsent, mss, record, usable + 1);",
    runsMax: 300,
  },
  {
    name: "window-by-old-segment",
    what: "an ACK in a retransmitted segment moves SND.UNA and leaves the window as wide as it was",
    file: "net/tcp/acknowledge.ts",
    find: "const later = advanced || seqLess",
    replace: "const later = seqLess",
    runsMax: 3_000,
  },
  {
    name: "ack-before-data",
    what: "one byte more is acknowledged than has come",
    file: "net/tcp/output.ts",
    find: "  segment.acknowledgment = durable === undefined ? tcb.rcvNxt :",
    replace: "  segment.acknowledgment = durable === undefined ? tcb.rcvNxt + (tcb.bytesIn > 500 ? 1 : 0) :",
    runsMax: 100,
  },
  {
    name: "sack-too-much",
    what: "a SACK block ends one byte too late",
    file: "net/tcp/receive.ts",
    find: "(tcb.rcvNxt + offset + to - from + (fin ? 1 : 0)) | 0);",
    replace: "(tcb.rcvNxt + offset + to - from + 1) | 0);",
    runsMax: 200,
  },
  {
    name: "hole-misplaced",
    what: "data that came ahead of a hole lands one byte off",
    file: "net/tcp/receive.ts",
    find: "tcb.receiveQueue.placeSlab(tcb.receiveQueue.length + offset, slab, from, to);",
    replace: "tcb.receiveQueue.placeSlab(tcb.receiveQueue.length + offset - 1, slab, from, to);",
    runsMax: 200,
  },
  {
    name: "reset-anywhere",
    what: "an RST outside of the window resets",
    file: "net/tcp/input.ts",
    find: "return resetsAtFin(tcb, segment.sequence) ? reset(tcp, tcb, nowMs) : Drop.TcpUnacceptable;",
    replace: "return reset(tcp, tcb, nowMs);",
    runsMax: 300,
  },
  {
    name: "reset-in-window",
    what: "an RST inside the window resets, exact or not (before RFC 5961)",
    file: "net/tcp/input.ts",
    find: "if (isExactReset(tcb, segment.sequence)) return",
    replace: "if (isExactReset(tcb, segment.sequence) || tcb.state > 0) return",
    runsMax: 1_500,
  },
  {
    name: "old-ack-data",
    what: "data whose ACK is ancient is taken (RFC 5961 section 5)",
    file: "net/tcp/input.ts",
    find: "} else if (!believableAck(tcb, segment, nowMs)) {",
    replace: "} else if (!believableAck(tcb, segment, nowMs) && tcb.state < 0) {",
    runsMax: 600,
  },
  {
    name: "old-timestamp-taken",
    what: "a segment from before the numbers were last in use is taken (RFC 7323 section 5, PAWS)",
    file: "net/tcp/input.ts",
    find: "} else if (seqLess(segment.tsVal, tcb.tsRecent) && !tsRecentOutdated(tcb, nowMs)) {",
    replace: "} else if (seqLess(segment.tsVal, tcb.tsRecent) && tcb.state < 0) {",
    runsMax: 400,
  },
  {
    name: "attacks-answered",
    what: "each packet of an attack is answered by a challenge ACK (RFC 5961 section 7)",
    file: "net/tcp/output.ts",
    find: "  if (nowMs - tcb.challengeAtMs < tcp.config.challengeAckMs) return false;",
    replace: "",
    runsMax: 150,
  },
  {
    name: "echo-off-by-one",
    what: "a timestamp is echoed that nobody has sent",
    file: "net/tcp/output.ts",
    find: "    segment.tsEcr = tcb.tsRecent;",
    replace: "    segment.tsEcr = (tcb.tsRecent + 1) | 0;",
    runsMax: 50,
  },
  {
    name: "start-guessable",
    what: "all connections start from one number",
    file: "net/tcp/handshake.ts",
    find: "  tcb.iss = tcp.secrets.initialSequence(tcb.localAddress, tcb.remoteAddress, ports, nowMs);",
    replace: "  tcb.iss = 12_345 + 0 * ports;",
    runsMax: 50,
  },
  {
    name: "peer-mss-ignored",
    what: "segments are as long as Ethernet carries, whatever the peer takes",
    file: "net/tcp/handshake.ts",
    find: "Math.max(MSS_MIN, segment.mss || mssDefault(tcb.remoteAddress));",
    replace: "Math.max(MSS_MIN, segment.mss, mssDefault(tcb.remoteAddress), 1_460);",
    runsMax: 100,
  },
  {
    name: "ahead-reneged",
    what: "what was reported as arrived ahead of a hole is forgotten asleep",
    file: "net/tcp/freeze.ts",
    find: "    tcb.ahead.push(offset, offset + bytes.length);",
    replace: "",
    runsMax: 600,
  },
  {
    name: "checksum-believed",
    what: "TCP's checksum is not looked at",
    file: "net/wire/tcp.ts",
    find:
      "  return foldSum(sumWords(slab, start, end, pseudoSum(source, destination, PROTOCOL_TCP, end - start))) ===",
    replace:
      "  return foldSum(sumWords(slab, start, start, pseudoSum(source, destination, PROTOCOL_TCP, end - start))) >= 0 || 0 ===",
    runsMax: 50,
  },
  {
    name: "ack-of-nothing",
    what: "an ACK of what was never sent is believed",
    file: "net/tcp/input.ts",
    find: "  if (seqLess(tcb.sndMax, segment.acknowledgment)) {",
    replace: "  if (seqLess(tcb.sndMax, segment.acknowledgment) && tcb.state < 0) {",
    runsMax: 100,
  },
  {
    name: "timestamps-for-ever",
    what: "a timestamp of 26 days ago still refuses what comes (RFC 7323 section 5.5)",
    file: "net/tcp/input.ts",
    find: "  return nowMs - tcb.tsRecentAtMs >= PAWS_MS_MAX;",
    replace: "  return nowMs < 0;",
    runsMax: 400,
  },
  {
    name: "probe-asleep-unanswered",
    what: "a sleeper's keep-alive probe has a number that nobody need answer",
    file: "net/wake/filter.ts",
    find: "  segment.sequence = (tcp.connections.get(record, Field.sndNxt) - 1) | 0;",
    replace: "  segment.sequence = tcp.connections.get(record, Field.sndNxt);",
    runsMax: 800,
  },
  {
    name: "fin-ahead-forgotten",
    what: "a FIN ahead of a hole, which was reported, is forgotten asleep",
    file: "net/tcp/thaw_quiet.ts",
    find: "  tcb.finPending = (flags & FrozenFlag.finPending) !== 0;",
    replace: "",
    runsMax: 2_000,
  },
  {
    name: "fin-sent-forgotten",
    what: "of a FIN in flight an image knows the number, and not that it is a FIN",
    file: "net/tcp/freeze_recovery.ts",
    find: "sent.push(sequence, end, list[at + 1]!, baseMs - list[at + 2]! / 1000);",
    replace: "sent.push(sequence, end, list[at + 1]! & ~Sent.fin, baseMs - list[at + 2]! / 1000);",
    runsMax: 50,
  },
  {
    name: "index-forgets-removals",
    what: "what a segment's index says to be removed is back when the store is opened",
    file: "checkpoint/store/segment_index.ts",
    find:
      "      if (target < locationOf(number, next)) segment.addRemoved(target, segment.count - 1); // as a scan does",
    replace: "",
    runsMax: 150,
  },
  {
    name: "cleaner-deletes-the-last",
    what: "a segment goes in which one record lives",
    file: "checkpoint/store/segments.ts",
    find: "      if (segment.recordsLive > 0 || segment === this.active) break;",
    replace: "      if (segment.recordsLive > 1 || segment === this.active) break;",
    runsMax: 50,
  },
  {
    name: "cleaner-tells-wrong",
    what: "of all records that are moved together the place of the first is told",
    file: "checkpoint/store/file_store.ts",
    find: "this.onMoved!(from, targets[index]!, record, known);",
    replace: "this.onMoved!(from, targets[0]!, record, known);",
    runsMax: 50,
  },
  {
    name: "timer-forgotten",
    what: "an image does not say when to send again",
    file: "net/tcp/thaw_quiet.ts",
    find: "  tcb.retransmitAtMs = deadlineMs(baseMs, numbers[at + 51]!);",
    replace: "",
    runsMax: 300,
  },
  {
    name: "probe-not-armed",
    what: "nobody asks whether a closed window has opened",
    file: "net/tcp/output.ts",
    find: "if (tcb.persistAtMs === Infinity) tcb.persistAtMs =",
    replace: "if (tcb.persistAtMs === Infinity && tcb.persists > 0) tcb.persistAtMs =",
    runsMax: 500,
  },
  {
    name: "path-mtu-ignored",
    what: 'a router\'s "too big" changes nothing',
    file: "net/tcp/path_mtu.ts",
    find: "export function packetTooBig(tcp: Tcp, tcb: Tcb, nowMs: number): void {",
    replace:
      "export function packetTooBig(tcp: Tcp, tcb: Tcb, nowMs: number): void {\n  if (tcp !== undefined) return;",
    runsMax: 3_000,
  },
  {
    name: "wake-lost",
    what: "one wake in eight is forgotten",
    file: "checkpoint/sleep/waking.ts",
    find: "    this.#queue.add(record, listener",
    replace: "    if (record % 8 !== 1) this.#queue.add(record, listener",
    runsMax: 100,
  },
  {
    name: "line-forgets",
    what: "of those who wait for a budget the last one is forgotten",
    file: "checkpoint/wake_queue.ts",
    find: "      if (line.length > 0) waiting.push(listener);",
    replace: "      if (line.length > 1) waiting.push(listener);",
    runsMax: 300,
  },
  {
    name: "herd-too-fast",
    what: "the budget of wakes in a second is not asked",
    file: "checkpoint/wake_queue.ts",
    find: "      if (!this.#all.has(nowMs)) {",
    replace: "      if (!this.#all.has(nowMs) && nowMs < 0) {",
    runsMax: 100,
  },
  {
    name: "herd-too-large",
    what: "one connection more is awake than the budget admits",
    file: "checkpoint/wake_queue.ts",
    find: "      if (all >= this.#awakeMax) {",
    replace: "      if (all > this.#awakeMax) {",
    runsMax: 100,
  },
  {
    name: "herd-of-a-listener",
    what: "the budget of one listener's wakes in a second is not asked",
    file: "checkpoint/wake_queue.ts",
    find: "      if (!line.rate.has(nowMs)) {",
    replace: "      if (!line.rate.has(nowMs) && nowMs < 0) {",
    runsMax: 150,
  },
  {
    name: "half-close-forgotten",
    what: "an image does not say that the peer has ended",
    file: "net/tcp/thaw_quiet.ts",
    find: "  tcb.finReceived = (flags & FrozenFlag.finReceived) !== 0;",
    replace: "",
    runsMax: 600,
  },
  {
    name: "stale-image",
    what: "an image is not revoked when its connection wakes",
    file: "checkpoint/sleep/waking.ts",
    find: "      if (revoked.length > 0) this.#walk.store.remove(revoked);",
    replace: "",
    runsMax: 100,
  },
  {
    name: "sleep-before-durable",
    what: "a connection is freed before its image is durable",
    file: "checkpoint/sleep/falling_asleep.ts",
    find: "const settled: Promise<void> = commit.durable\n",
    replace: "const settled: Promise<void> = Promise.resolve()\n",
    runsMax: 600,
  },
  {
    name: "change-unnoticed",
    what: "what happens to a connection while its image is written is not in it, and nobody looks",
    file: "checkpoint/sleep/falling_asleep.ts",
    find: "      if (!wanted && hasChanged(saving)) {",
    replace: "      if (!wanted && hasChanged(saving) && nowMs < 0) {",
    runsMax: 3_000,
  },
  {
    name: "sync-skipped",
    what: "the store promises what it has not synced",
    file: "checkpoint/store/segments.ts",
    find: "        await this.file(segment).sync();\n",
    replace: "",
    runsMax: 200,
  },
  {
    name: "folder-not-synced",
    what: "a new segment's name is not made durable",
    file: "checkpoint/store/segments.ts",
    find: "      await this.#disk.syncFolder();\n      return segment;",
    replace: "      return segment;",
    runsMax: 300,
  },
  {
    name: "damage-unnoticed",
    what: "entries of the store are not checked against their hashes",
    file: "checkpoint/store/entry.ts",
    find: "return found === need ? undefined",
    replace: "return found === need || need !== undefined ? undefined",
    runsMax: 2_000,
  },
  {
    name: "torn-too-much",
    what: "damage in what was durable is taken for a torn write, and all behind it goes",
    file: "checkpoint/store/open.ts",
    find: "damage.find(({ offset }) => offset >= durable);",
    replace: "damage.find(({ offset }) => offset >= 0 || offset >= durable);",
    runsMax: 1_500,
  },
  {
    name: "unsent-forgotten",
    what: "data that was not acknowledged is not in the image",
    file: "net/tcp/freeze.ts",
    find: "  tcb.sendQueue.append(sendQueue, 0, sendQueue.length);",
    replace: "",
    runsMax: 200,
  },
  {
    name: "fin-forgotten",
    what: "an image does not say that a FIN was sent or is to be sent",
    file: "net/tcp/thaw_quiet.ts",
    find: "  tcb.finQueued = (flags & FrozenFlag.finQueued) !== 0;",
    replace: "",
    runsMax: 3_000,
  },
  {
    name: "hole-forgotten",
    what: "data ahead of a hole is restored one byte off",
    file: "net/tcp/freeze.ts",
    find: "tcb.receiveQueue.place(tcb.receiveQueue.length + offset, bytes, 0, bytes.length);",
    replace: "tcb.receiveQueue.place(tcb.receiveQueue.length + offset + 1, bytes, 0, bytes.length);",
    runsMax: 1_000,
  },
  {
    name: "timestamps-backward",
    what: "timestamps are not ahead of what an earlier process may have answered",
    file: "net/wake/taken_over.ts",
    find: "(frozen[TS_OFFSET] + TAKEN_OVER_MS + (behindMs",
    replace: "(frozen[TS_OFFSET] + (behindMs",
    runsMax: 1_000,
  },
  {
    name: "timestamps-by-the-image",
    what: "that a clock was set back is told to no later process: each counts timestamps from the same image",
    file: "checkpoint/recover.ts",
    find: "    if (tcb[0] > nowMs) behind.push(location);",
    replace: "",
    runsMax: 3_000,
  },
  {
    name: "window-taken-back",
    what: "a restored connection forgets how much window it has promised",
    file: "net/tcp/thaw_quiet.ts",
    find: "  tcb.rcvAdv = (rcvNxt + numbers[at + 18]!) | 0;",
    replace: "  tcb.rcvAdv = rcvNxt;\n  if (numbers[at + 18]! > 0) tcb.receiveBufferBytes = 1_000;",
    runsMax: 700,
  },
  {
    name: "moved-unnoticed",
    what: "where the store has moved an image is not noted",
    file: "net/wake/sleepers.ts",
    find: "    setLocation(map, record, to);",
    replace: "",
    runsMax: 500,
  },
  {
    name: "ack-before-log",
    what: "a durable connection acknowledges what is not in the log",
    file: "net/tcp/output.ts",
    find: "  segment.acknowledgment = durable === undefined ? tcb.rcvNxt : durable.rcvNxt;",
    replace: "  segment.acknowledgment = tcb.rcvNxt;",
    runsMax: 300,
  },
  {
    name: "data-before-log",
    what: "a durable connection sends what is not in the log",
    file: "net/tcp/tcb.ts",
    find: "  return durable !== undefined && seqLess(durable.sndEnd, end) ? durable.sndEnd : end;",
    replace: "  return durable !== undefined && seqLess(durable.sndEnd, end) ? end : end;",
    runsMax: 300,
  },
  {
    name: "log-before-sync",
    what: "a durable connection speaks when its log is written and not yet durable",
    file: "checkpoint/journal.ts",
    find: "    commit.durable.then(",
    replace: "    Promise.resolve().then(",
    runsMax: 3_000,
  },
  {
    name: "record-leaks",
    what: "a connection that ends keeps its record",
    file: "net/tcp/tcp.ts",
    find: "    this.connections.remove(tcb.record);",
    replace: "",
    runsMax: 100,
  },
];

/** Canaries that are drawn are found within so many worlds: a minute or two. */
const DRAWN_RUNS_MAX = 700;

/** The canaries that are meant by `text`: "all", a count of drawn ones of those that are soon found, or names. */
export function canariesOf(text: string, seed: number): Canary[] {
  if (text === "all") return [...CANARIES];
  if (/^\d+$/.test(text)) {
    const prng = new Prng(seed);
    const left = CANARIES.filter(({ runsMax }) => runsMax <= DRAWN_RUNS_MAX);
    const count = Math.min(Number(text), left.length);
    return Array.from({ length: count }, () => left.splice(prng.below(left.length), 1)[0]!);
  }
  return text.split(",").map((name) => {
    const canary = CANARIES.find((each) => each.name === name);
    if (canary === undefined) throw new RangeError(`There is no canary "${name}": see --list-canaries`);
    return canary;
  });
}

/** `source` with the canary's bug. */
export function infect(canary: Canary, source: string): string {
  const parts = source.split(canary.find);
  if (parts.length !== 2) {
    throw new Error(
      `Canary "${canary.name}" finds its place ${parts.length - 1} times in ${canary.file}, not once`,
    );
  }
  return parts.join(canary.replace);
}

/** Folders that the simulator needs of the project. */
const NEEDED = [
  "base",
  "net",
  "checkpoint",
  "bench",
  "mod.ts",
  "package.json",
  "tests/sim",
  "tests/support",
  "tests/net",
];
const ROOT = dirname(dirname(import.meta.dirname));

/** Lives worlds on a copy of the code with the bug, until one fails. */
export async function release(
  canary: Canary,
  seed: number,
  jobs: number,
): Promise<{ caughtAfter: number | undefined; by: string }> {
  const folder = mkdtempSync(join(tmpdir(), `canary-${canary.name}-`));
  try {
    for (const each of NEEDED) cpSync(join(ROOT, each), join(folder, each), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    const file = join(folder, canary.file);
    writeFileSync(file, infect(canary, readFileSync(file, "utf8")));
    const main = join(folder, "tests/sim/main.ts");
    mkdirSync(join(folder, "out"));
    let next = 0;
    let found: Failure | undefined;
    // A test's process runs TypeScript by means that a child does not inherit.
    const runs = process.execArgv.some((each) => each.includes("tsx"));
    const execArgv = runs ? process.execArgv : ["--import", "tsx"];
    const options: ForkOptions = { execArgv, stdio: ["ignore", "ignore", "ignore", "ipc"] };
    const take = () => found !== undefined || next >= canary.runsMax ? undefined : seed + next++;
    await Promise.all(
      Array.from({ length: jobs }, () =>
        drive(main, options, take, ({ failures: [failure] }) => {
          if (failure !== undefined && (found === undefined || failure.seed < found.seed)) found = failure;
        })),
    );
    return found === undefined
      ? { caughtAfter: undefined, by: "" }
      : { caughtAfter: found.seed - seed + 1, by: found.message };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
