import { assert } from "../../base/assert.ts";
import type { ByteRing } from "../../base/ring.ts";
import type { AddressTable } from "../ip/address_table.ts";
import { isIpv6Handle } from "../wire/address.ts";
import { freezeBuffers } from "./buffers.ts";
import type { TcpConfig } from "./config.ts";
import { freezeCongestion } from "./congestion/freeze.ts";
import { newDurable } from "./durable.ts";
import { freezeEcn } from "./ecn.ts";
import { freezeCounters } from "./freeze_counters.ts";
import { freezeNumbers } from "./freeze_numbers.ts";
import { freezeOptions } from "./freeze_options.ts";
import { freezeRecovery, freezeSent, thawSent } from "./freeze_recovery.ts";
import { FrozenBatch, FrozenRow } from "./frozen_batch.ts";
import { RowWriter } from "./frozen_row.ts";
import {
  FROZEN_PLACES,
  FROZEN_TCB_ALWAYS,
  FrozenFlag,
  FrozenPlace,
  type FrozenTcb,
  frozenTcbDefaults,
} from "./frozen_tcb.ts";
import { freezeMtuSearch, thawMtuSearch } from "./path_mtu.ts";
import { type Tcb, TcpState } from "./tcb.ts";
import { thawQuiet } from "./thaw_quiet.ts";
import { freezeTooBig } from "./too_big.ts";
import { freezeUrgent, thawUrgent } from "./urgent.ts";
import { freezeUserTimeout } from "./user_timeout.ts";

/** A state for the log of a durable connection (durable.ts): nothing is said of what has been sent, or of holes. */
export interface Unsettled {
  /** Bytes at the front of the send queue and of the receive queue that the image does without. */
  readonly sentFrom: number;
  readonly unreadFrom: number;
}

/**
 * Copies the state out; `addresses` says what handles stand for, where there are any. The TCB is left as it is;
 * any state but CLOSED can be frozen, data in flight and all.
 */
export function freezeTcb(
  tcb: Tcb,
  nowMs: number,
  addresses?: Pick<AddressTable, "freeze">,
  unsettled?: Unsettled,
): FrozenTcb {
  assert(tcb.state !== TcpState.closed, "A closed connection has no state to keep");
  const atMs = Math.floor(nowMs);
  const settled = unsettled === undefined;
  const idle = freezeNumbers(tcb, atMs, settled, numbers);
  const frozen: unknown[] = [];
  for (let place = 0; place < FROZEN_PLACES; place++) {
    const number = numbers[place]!;
    frozen.push(number !== number && isNullable(place) ? null : number);
  }
  frozen[FrozenPlace.localAddress] = frozenAddress(tcb.localAddress, addresses);
  frozen[FrozenPlace.remoteAddress] = frozenAddress(tcb.remoteAddress, addresses);
  frozen[FrozenPlace.sendQueue] = queuedFrom(tcb.sendQueue, unsettled?.sentFrom ?? 0);
  frozen[FrozenPlace.receiveQueue] = queuedFrom(tcb.receiveQueue, unsettled?.unreadFrom ?? 0);
  frozen[FrozenPlace.ahead] = settled ? freezeAhead(tcb) : [];
  freezeCongestion(tcb, atMs, idle, row.clear());
  frozen[FrozenPlace.congestionState] = row.toRow();
  freezeBuffers(tcb, atMs, row.clear());
  frozen[FrozenPlace.bufferState] = row.toRow();
  freezeCounters(tcb, atMs, row.clear());
  frozen[FrozenPlace.counters] = row.toRow();
  freezeOptions(tcb, row.clear());
  frozen[FrozenPlace.options] = row.toRow();
  frozen[FrozenPlace.urgentState] = freezeUrgent(tcb);
  row.clear();
  if (settled) freezeRecovery(tcb, atMs, row);
  frozen[FrozenPlace.recoveryState] = row.toRow();
  frozen[FrozenPlace.sent] = settled ? freezeSent(tcb, atMs) : [];
  freezeEcn(tcb, atMs, row.clear());
  frozen[FrozenPlace.ecnState] = row.toRow();
  frozen[FrozenPlace.mtuState] = freezeMtuSearch(tcb, atMs);
  freezeUserTimeout(tcb, row.clear());
  frozen[FrozenPlace.userTimeoutState] = row.toRow();
  freezeTooBig(tcb, row.clear());
  frozen[FrozenPlace.tooBigState] = row.toRow();
  frozen[FrozenPlace.protocolState] = tcb.protocolState.slice();
  frozen[FrozenPlace.lent] = tcb.durable?.lent ?? NOTHING;
  return frozen as FrozenTcb;
}

/** Any other place that is no number is a mistake, and an image that holds one is refused as it is written. */
function isNullable(place: number): boolean {
  return frozenTcbDefaults[place - FROZEN_TCB_ALWAYS] === null;
}

const numbers = new Float64Array(FROZEN_PLACES);
const row = new RowWriter();

const NOTHING = new Uint8Array(0);

/** What came ahead of its time: where, as a distance from RCV.NXT, and the bytes. */
function freezeAhead({ ahead, receiveQueue }: Tcb): [number, Uint8Array][] {
  const runs: [number, Uint8Array][] = [];
  for (let at = 0; at < ahead.length; at += 2) {
    const start = ahead[at]!;
    runs.push([start, receiveQueue.placed(receiveQueue.length + start, ahead[at + 1]! - start)]);
  }
  return runs;
}

function queuedFrom(queue: ByteRing, from: number): Uint8Array {
  if (queue.length === from) return NOTHING;
  if (from === 0) return queue.toBytes();
  const bytes = new Uint8Array(queue.length - from);
  queue.copyTo(from, bytes.length, bytes, 0);
  return bytes;
}

function frozenAddress(
  address: number,
  addresses: Pick<AddressTable, "freeze"> | undefined,
): number | Uint8Array {
  if (addresses !== undefined) return addresses.freeze(address);
  assert(!isIpv6Handle(address), "A handle means nothing outside its table");
  return address >>> 0;
}

export function thawedAddress(
  frozen: number | Uint8Array,
  addresses: Pick<AddressTable, "thaw"> | undefined,
): number {
  if (addresses !== undefined) return addresses.thaw(frozen);
  assert(typeof frozen === "number", "An IPv6 address needs a table");
  return frozen | 0;
}

/**
 * Puts a frozen state into a fresh TCB at today's clock: deadlines keep their distance from the
 * moment of freezing, so that those that passed meanwhile come due at once, and the timestamp clock
 * never runs backward, even when the machine's did.
 */
export function thawTcb(
  frozen: FrozenTcb,
  tcb: Tcb,
  config: Readonly<TcpConfig>,
  nowMs: number,
  addresses?: Pick<AddressTable, "thaw">,
): void {
  const localAddress = thawedAddress(frozen[FrozenPlace.localAddress] as number | Uint8Array, addresses);
  const remoteAddress = thawedAddress(frozen[FrozenPlace.remoteAddress] as number | Uint8Array, addresses);
  thawQuiet(laidOut(frozen), localAddress, remoteAddress, tcb, config, nowMs);
  const {
    0: frozenAtMs,
    50: sndMaxOffset,
    64: sendQueue,
    65: receiveQueue,
    66: ahead,
    72: urgentState,
    74: sent,
    77: mtuState,
    80: protocolState,
    81: lent,
  } = frozen; // not as a list: its iterator makes an object for each
  const baseMs = Math.min(frozenAtMs, nowMs);
  thawSent(sent, tcb, tcb.finQueued && sndMaxOffset > sendQueue.length, baseMs);
  thawUrgent(urgentState, tcb);
  thawMtuSearch(mtuState, tcb, baseMs);
  tcb.protocolState = protocolState;
  tcb.sendQueue.append(sendQueue, 0, sendQueue.length);
  tcb.receiveQueue.append(receiveQueue, 0, receiveQueue.length);
  for (const [offset, bytes] of ahead) {
    tcb.receiveQueue.place(tcb.receiveQueue.length + offset, bytes, 0, bytes.length);
    tcb.ahead.push(offset, offset + bytes.length);
  }
  if ((frozen[6] & FrozenFlag.durable) === 0) return;
  tcb.durable = newDurable(tcb);
  tcb.durable.lent = lent.slice();
}

/** What is a number or a row of it, where `thawQuiet` reads that. Valid until the next call. */
function laidOut(frozen: FrozenTcb): FrozenBatch {
  const { numbers } = batch;
  for (let place = 0; place < FROZEN_PLACES; place++) {
    const value = frozen[place];
    numbers[place] = typeof value === "number" ? value : NaN;
  }
  let to = 0;
  for (const [row, place] of ROWS) {
    const list = frozen[place] as readonly number[];
    batch.makeRoom(to + list.length);
    batch.rowStarts[row] = to;
    for (let index = 0; index < list.length; index++) batch.cells[to++] = list[index]!;
    batch.rowEnds[row] = to;
  }
  return batch;
}

const batch = new FrozenBatch(1, 256);
const ROWS = Object.entries(FrozenRow).map(([name, row]) =>
  [row, FrozenPlace[name as keyof typeof FrozenRow]] as const
);
