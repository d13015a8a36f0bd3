import { freezeBuffers } from "./buffers.ts";
import { freezeCongestion } from "./congestion/freeze.ts";
import { freezeEcn } from "./ecn.ts";
import { freezeCounters } from "./freeze_counters.ts";
import { freezeNumbers } from "./freeze_numbers.ts";
import { freezeOptions } from "./freeze_options.ts";
import { freezeRecovery } from "./freeze_recovery.ts";
import { RowWriter } from "./frozen_row.ts";
import { FROZEN_PLACES, FrozenPlace } from "./frozen_tcb.ts";
import { type Tcb, TcpState } from "./tcb.ts";
import { freezeTooBig } from "./too_big.ts";
import { freezeUserTimeout } from "./user_timeout.ts";

/**
 * What `FrozenTcb` says of a quiet connection, in memory that is used again: thousands fall asleep in a turn, and what
 * each of them made for it was the collector's to take away.
 */
export class QuietTcb {
  /** The places that are numbers; NaN is `null`. Those of the addresses hold what the TCB does: handles. */
  readonly numbers: Float64Array<ArrayBuffer> = new Float64Array(FROZEN_PLACES);
  /** The places that are rows, one behind the other: place `p` is `rows.cells` from `rowStarts[p]` to `rowEnds[p]`. */
  readonly rows: RowWriter = new RowWriter();
  readonly rowStarts: Int32Array = new Int32Array(FROZEN_PLACES);
  readonly rowEnds: Int32Array = new Int32Array(FROZEN_PLACES);
}

/**
 * As `freezeTcb`, of a connection with nothing in its queues and nothing else that only some have; the others are left
 * to that.
 *
 * @returns Whether it is such a connection; else `into` holds nothing.
 */
export function freezeQuiet(tcb: Tcb, nowMs: number, into: QuietTcb): boolean {
  if (!isPlain(tcb)) return false;
  const atMs = Math.floor(nowMs);
  const { numbers, rows } = into;
  const idle = freezeNumbers(tcb, atMs, true, numbers);
  numbers[FrozenPlace.localAddress] = tcb.localAddress;
  numbers[FrozenPlace.remoteAddress] = tcb.remoteAddress;
  rows.clear();
  freezeCongestion(tcb, atMs, idle, rows);
  note(into, FrozenPlace.congestionState);
  freezeBuffers(tcb, atMs, rows.begin());
  note(into, FrozenPlace.bufferState);
  freezeCounters(tcb, atMs, rows.begin());
  note(into, FrozenPlace.counters);
  freezeOptions(tcb, rows.begin());
  note(into, FrozenPlace.options);
  freezeRecovery(tcb, atMs, rows.begin());
  note(into, FrozenPlace.recoveryState);
  freezeEcn(tcb, atMs, rows.begin());
  note(into, FrozenPlace.ecnState);
  freezeUserTimeout(tcb, rows.begin());
  note(into, FrozenPlace.userTimeoutState);
  freezeTooBig(tcb, rows.begin());
  note(into, FrozenPlace.tooBigState);
  return true;
}

function note({ rows, rowStarts, rowEnds }: QuietTcb, place: number): void {
  rowStarts[place] = rows.start;
  rowEnds[place] = rows.whole().length;
}

/** All that is no number of it is what it is of every connection. */
function isPlain(tcb: Tcb): boolean {
  return tcb.state === TcpState.established && tcb.sendQueue.length === 0 && tcb.receiveQueue.length === 0 &&
    tcb.ahead.length === 0 && tcb.sent.length === 0 && tcb.sackBlocks.length === 0 &&
    tcb.records.length === 0 &&
    tcb.protocolState.length === 0 && tcb.durable === undefined && tcb.accEcn === undefined &&
    !tcb.mtuProbing && !tcb.sndUrgent && !tcb.rcvUrgent;
}
