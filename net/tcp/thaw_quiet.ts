import type { AddressTable } from "../ip/address_table.ts";
import { thawBuffers } from "./buffers.ts";
import type { TcpConfig } from "./config.ts";
import { thawCongestion } from "./congestion/freeze.ts";
import { thawEcn } from "./ecn.ts";
import { thawCounters } from "./freeze_counters.ts";
import { thawOptions } from "./freeze_options.ts";
import { thawRecovery } from "./freeze_recovery.ts";
import { type FrozenBatch, FrozenRow } from "./frozen_batch.ts";
import { RowReader, whole } from "./frozen_row.ts";
import { FrozenFlag, FrozenPlace, type FrozenTcb } from "./frozen_tcb.ts";
import { type Tcb, TcpError, type TcpState } from "./tcb.ts";
import { thawTooBig } from "./too_big.ts";
import { thawUserTimeout } from "./user_timeout.ts";

const row = new RowReader();
const NOTHING: readonly number[] = [];

/**
 * As `thawTcb`, of the connection of a batch that is selected: all that is a number or a row. What only some connections
 * have is as of one that has it not; `thawTcb` sees to that.
 */
export function thawQuiet(
  from: FrozenBatch,
  localAddress: number,
  remoteAddress: number,
  tcb: Tcb,
  config: Readonly<TcpConfig>,
  nowMs: number,
): void {
  const { numbers, numbersAt: at } = from;
  const frozenAtMs = numbers[at]!;
  // A clock that was set back while we slept counts as no time passed.
  const baseMs = Math.min(frozenAtMs, nowMs);
  const flags = numbers[at + 6]! | 0;
  const sndUna = numbers[at + 7]! | 0;
  const sndWnd = whole(numbers[at + 9]!);
  const peerMss = numbers[at + 14]! | 0;
  const rcvNxt = numbers[at + 16]! | 0;
  const tsOffset = numbers[at + 20]! | 0;
  tcb.localAddress = localAddress;
  tcb.remoteAddress = remoteAddress;
  tcb.localPort = numbers[at + 3]! | 0;
  tcb.remotePort = numbers[at + 4]! | 0;
  tcb.state = (numbers[at + 5]! | 0) as TcpState;
  tcb.error = TcpError.none;
  tcb.softError = numbers[at + 45]! | 0;
  tcb.finQueued = (flags & FrozenFlag.finQueued) !== 0;
  tcb.finReceived = (flags & FrozenFlag.finReceived) !== 0;
  tcb.finPending = (flags & FrozenFlag.finPending) !== 0;
  tcb.timestamps = (flags & FrozenFlag.timestamps) !== 0;
  tcb.rttTiming = (flags & FrozenFlag.rttTiming) !== 0;
  tcb.ackNow = (flags & FrozenFlag.ackNow) !== 0;
  tcb.noDelay = (flags & FrozenFlag.noDelay) !== 0;
  tcb.keepAlive = (flags & FrozenFlag.keepAlive) !== 0;
  tcb.orphan = (flags & FrozenFlag.orphan) !== 0;
  tcb.wantsWritable = (flags & FrozenFlag.wantsWritable) !== 0;
  tcb.wantsDrained = (flags & FrozenFlag.wantsDrained) !== 0;
  tcb.cwndLimited = (flags & FrozenFlag.cwndLimited) !== 0;
  tcb.sackPermitted = (flags & FrozenFlag.sackPermitted) !== 0;
  tcb.interactive = (flags & FrozenFlag.interactive) !== 0;
  tcb.iss = (sndUna - numbers[at + 8]!) | 0;
  tcb.sndUna = sndUna;
  tcb.sndMax = (sndUna + numbers[at + 50]!) | 0;
  tcb.sndWnd = sndWnd;
  tcb.sndWndMax = whole(sndWnd + numbers[at + 10]!);
  tcb.sndWl1 = (rcvNxt - numbers[at + 11]!) | 0;
  tcb.sndWl2 = (sndUna - numbers[at + 12]!) | 0;
  tcb.sndShift = numbers[at + 13]! | 0;
  tcb.sndMss = (peerMss - numbers[at + 15]!) | 0;
  tcb.peerMss = peerMss;
  tcb.irs = (rcvNxt - numbers[at + 17]!) | 0;
  tcb.rcvNxt = rcvNxt;
  tcb.rcvAdv = (rcvNxt + numbers[at + 18]!) | 0;
  tcb.rcvShift = numbers[at + 19]! | 0;
  tcb.lastAckSent = (rcvNxt - numbers[at + 47]!) | 0;
  tcb.finAhead = (rcvNxt + numbers[at + 63]!) | 0;
  tcb.tsOffset = nowMs < frozenAtMs ? (tsOffset + frozenAtMs - Math.floor(nowMs)) | 0 : tsOffset;
  tcb.tsRecent = numbers[at + 21]! | 0;
  tcb.tsRecentAtMs = baseMs - numbers[at + 22]!;
  tcb.srttUs = whole(numbers[at + 23]!);
  tcb.rttvarUs = whole(numbers[at + 24]!);
  tcb.rtoMs = whole(Math.min(numbers[at + 25]!, config.rtoMaxMs));
  tcb.backoff = numbers[at + 54]! | 0;
  tcb.rttStartMs = baseMs - numbers[at + 58]!;
  tcb.cwnd = whole(numbers[at + 26]!);
  tcb.ssthresh = whole(numbers[at + 31]!);
  tcb.cwndBytesAcked = whole(numbers[at + 32]!);
  thawCongestion(from.row(FrozenRow.congestionState, row), tcb, baseMs);
  tcb.persistSinceMs = baseMs - numbers[at + 71]!;
  tcb.fastOpen = numbers[at + 75]! | 0;
  tcb.highSeq = (tcb.iss + numbers[at + 33]!) | 0;
  tcb.retransmitAtMs = deadlineMs(baseMs, numbers[at + 51]!);
  thawRecovery(from.row(FrozenRow.recoveryState, row), tcb, config, baseMs);
  tcb.persistAtMs = deadlineMs(baseMs, numbers[at + 59]!);
  tcb.delayedAckAtMs = deadlineMs(baseMs, numbers[at + 46]!);
  tcb.keepAliveAtMs = deadlineMs(baseMs, numbers[at + 35]!);
  tcb.expireAtMs = deadlineMs(baseMs, numbers[at + 62]!);
  tcb.retransmits = numbers[at + 52]! | 0;
  tcb.persists = numbers[at + 60]! | 0;
  tcb.probesUnanswered = numbers[at + 61]! | 0;
  tcb.keepAlives = numbers[at + 36]! | 0;
  tcb.stuckSinceMs = baseMs - numbers[at + 53]!;
  tcb.quickAcks = numbers[at + 27]! | 0;
  tcb.keepAliveIdleMs = whole(numbers[at + 37]!);
  tcb.keepAliveIntervalMs = whole(numbers[at + 38]!);
  tcb.keepAliveProbes = numbers[at + 39]! | 0;
  tcb.userTimeoutMs = whole(numbers[at + 40]!);
  tcb.typeOfService = numbers[at + 43]! | 0;
  tcb.timeToLive = numbers[at + 44]! | 0;
  const sent = whole(numbers[at + 41]!), received = whole(numbers[at + 42]!);
  thawBuffers(from.row(FrozenRow.bufferState, row), sent, received, tcb, baseMs);
  tcb.lastActivityMs = baseMs - numbers[at + 28]!;
  const sentAgoMs = numbers[at + 48]!;
  tcb.lastSentMs = sentAgoMs === sentAgoMs ? baseMs - sentAgoMs : -Infinity;
  tcb.bytesIn = whole(numbers[at + 29]!);
  tcb.bytesOut = whole(numbers[at + 30]!);
  tcb.retransmittedSegments = whole(numbers[at + 34]!);
  thawCounters(from.row(FrozenRow.counters, row), tcb, baseMs);
  thawOptions(from.row(FrozenRow.options, row), tcb);
  thawEcn(from.row(FrozenRow.ecnState, row), tcb, frozenAtMs);
  thawUserTimeout(from.row(FrozenRow.userTimeoutState, row), tcb);
  const proven = (flags & FrozenFlag.fullSegmentProven) !== 0;
  thawTooBig(from.row(FrozenRow.tooBigState, row), proven, tcb);
  tcb.sndUrgent = tcb.rcvUrgent = tcb.mtuProbing = false;
  tcb.sndUp = sndUna;
  tcb.rcvUp = rcvNxt;
  tcb.mtuLow = tcb.mtuHigh = tcb.mtuProbeSize = 0;
  tcb.mtuProbedAtMs = baseMs;
  tcb.mtuProbeStart = tcb.mtuProbeEnd = sndUna;
  tcb.protocolState = NOTHING;
  if (tcb.ahead.length > 0) tcb.ahead.length = 0; // to set it takes a while, whatever it was
  tcb.sent.clear();
  tcb.sendQueue.clear();
  tcb.receiveQueue.clear();
}

/**
 * The address of a connection's own end, or of its peer, of the one that is selected.
 * @throws {RangeError} When the table is full, or this is no host's address.
 */
export function frozenAddressIn(
  from: FrozenBatch,
  whose: "localAddress" | "remoteAddress",
  addresses: Pick<AddressTable, "thaw" | "thawWords">,
): number {
  const number = from.numbers[from.numbersAt + FrozenPlace[whose]]!;
  if (number === number) return addresses.thaw(number);
  const at = from.addressesAt + (whose === "localAddress" ? 0 : 4);
  const words = from.addresses;
  return addresses.thawWords(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
}

/** The beginning of the `FrozenTcb` that the one which is selected would be: its key. */
export function frozenKey(from: FrozenBatch): FrozenTcb {
  const { numbers, numbersAt } = from;
  const address = (place: number, at: number): number | Uint8Array => {
    const number = numbers[numbersAt + place]!;
    if (number === number) return number;
    const view = new DataView(new ArrayBuffer(16));
    for (let word = 0; word < 4; word++) view.setInt32(4 * word, from.addresses[at + word]!);
    return new Uint8Array(view.buffer);
  };
  return [
    numbers[numbersAt]!,
    address(FrozenPlace.localAddress, from.addressesAt),
    address(FrozenPlace.remoteAddress, from.addressesAt + 4),
    numbers[numbersAt + 3]!,
    numbers[numbersAt + 4]!,
  ] as unknown as FrozenTcb;
}

function deadlineMs(baseMs: number, leftMs: number): number {
  return leftMs === leftMs ? baseMs + leftMs : Infinity;
}
