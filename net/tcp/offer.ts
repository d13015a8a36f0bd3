import { copied, Copies } from "../../base/copies.ts";
import { type Slab, viewOf } from "../../base/slab.ts";
import type { Tcb } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/**
 * Shorter data goes through the receive queue, where a copy needs no view, which costs more than a second copy does
 * (`npm run bench -- copies`); long data comes in trains.
 */
export const DIRECT_BYTES_MIN = 4_096;

/** When so much lies in a buffer, a turn for it costs little beside it, */
const TURN_BYTES = 128 << 10;
/** and that is due when the next train might find no room. */
const TRAIN_BYTES = 64 << 10;

/**
 * A buffer of the application's that data may be put into as it arrives, from the packet at hand: it is copied once, and
 * not into the receive queue and out of it again. What is in it counts as read.
 */
export class ReadOffer {
  bytes: Uint8Array;
  /** So many of them are data. */
  filled = 0;
  /** Whose data that is: one buffer may be offered for many connections. */
  holder: Tcb | undefined = undefined;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** It is empty again. @returns How many bytes of `tcb`'s it had. */
  take(tcb: Tcb): number {
    if (this.holder !== tcb) return 0;
    const count = this.filled;
    this.filled = 0;
    this.holder = undefined;
    return count;
  }
}

/**
 * Puts the front of the data that comes next, `slab[from, to)`, into the buffer that is offered, behind what is unread.
 * @returns How many bytes of it; the rest is for the receive queue.
 */
export function receiveOffered(
  tcp: Pick<Tcp, "offerFull">,
  tcb: Tcb,
  offer: ReadOffer,
  slab: Slab,
  from: number,
  to: number,
): number {
  if (to - from < DIRECT_BYTES_MIN || tcb.ahead.length > 0 || tcb.durable !== undefined || tcb.rcvUrgent) {
    return 0;
  }
  if (offer.holder !== undefined && offer.holder !== tcb) return 0;
  const { receiveQueue } = tcb;
  const unread = receiveQueue.length;
  // Not for a few bytes at its end. A buffer that was given away meanwhile has no length.
  if (offer.bytes.length - offer.filled - unread < DIRECT_BYTES_MIN) return 0;
  if (unread > 0) {
    receiveQueue.copyTo(0, unread, offer.bytes, offer.filled);
    copied[Copies.in]! += unread;
    receiveQueue.drop(unread);
    offer.filled += unread;
  }
  const count = Math.min(to - from, offer.bytes.length - offer.filled);
  offer.bytes.set(viewOf(slab, from, from + count), offer.filled);
  offer.filled += count;
  offer.holder = tcb;
  if (offer.filled >= TURN_BYTES && offer.bytes.length - offer.filled < TRAIN_BYTES) tcp.offerFull = true;
  return count;
}

/** Puts what of `tcb`'s is in the buffer back in front of what is unread. */
export function returnOffered(tcb: Tcb, offer: ReadOffer): void {
  const count = offer.take(tcb);
  if (count === 0) return;
  const { ahead, receiveQueue } = tcb;
  const unread = receiveQueue.toBytes();
  const runs: Uint8Array[] = [];
  for (let at = 0; at < ahead.length; at += 2) {
    runs.push(receiveQueue.placed(unread.length + ahead[at]!, ahead[at + 1]! - ahead[at]!));
  }
  receiveQueue.clear();
  receiveQueue.append(offer.bytes, 0, count);
  receiveQueue.append(unread, 0, unread.length);
  runs.forEach((run, at) => receiveQueue.place(count + unread.length + ahead[2 * at]!, run, 0, run.length));
}
