import { Sent } from "../../net/tcp/sent_queue.ts";
import { sendEnd, type Tcb } from "../../net/tcp/tcb.ts";

/**
 * How much Linux takes of a write where SO_SNDBUF is set. It counts the memory of packets, and looks only when it begins
 * one, which is then filled as far as it goes: a buffer that has some room takes more than that. The stack counts bytes;
 * this is what the system call makes of them.
 */

/** What a packet weighs beside its bytes. */
const PACKET_BYTES = 1_280;
/** A packet that is cut when it is sent: less than 64 KiB with all its headers. */
const WHOLE_PACKET_BYTES = 65_215;
const MSS_DEFAULT = 536;
/** Linux's SOCK_MIN_SNDBUF. */
export const SEND_BUFFER_BYTES_MIN = 4_608;

/** Bytes of the packets that a write is cut into: whole segments, and not more than half of the peer's largest window. */
function packetBytes(tcb: Tcb): number {
  const half = tcb.sndWndMax > MSS_DEFAULT ? tcb.sndWndMax >>> 1 : tcb.sndWndMax;
  return Math.max(1, Math.floor(Math.min(WHOLE_PACKET_BYTES, half) / tcb.sndMss)) * tcb.sndMss;
}

function memory(tcb: Tcb): number {
  const { length } = tcb.sendQueue;
  return length + PACKET_BYTES * Math.ceil(length / packetBytes(tcb));
}

/** Whether who waits for room is woken: a third of the buffer is free, where SO_SNDBUF has set it. */
export function hasSpace(tcb: Tcb): boolean {
  if (!tcb.sendBufferSet) return tcb.sendQueue.length < tcb.sendBufferBytes;
  const used = memory(tcb);
  return used < tcb.sendBufferBytes && tcb.sendBufferBytes - used >= used >>> 1;
}

/** One write: `next` says how much of it is taken now, as often as it is asked. */
export class LinuxWrite {
  #first = 0;
  #end = 0;
  #open = false;
  #pushed: number | undefined;
  /** More follows what was taken last, which has no PSH then. */
  more = false;

  /** Bytes that are taken before the stack sends; 0: the call waits. */
  next(tcb: Tcb, left: number): number {
    const whole = packetBytes(tcb);
    const unsent = Math.max(0, (sendEnd(tcb) - tcb.sndMax) | 0);
    // A packet that has left in part is filled up again.
    const refill = this.#open && unsent > 0 || this.#leftInPart(tcb) ? Math.max(0, whole - unsent) : 0;
    const begins = refill === 0;
    if (begins && memory(tcb) >= tcb.sendBufferBytes) return 0;
    const taken = Math.min(left, begins ? whole : refill);
    this.#first = begins ? sendEnd(tcb) : tcb.sndMax;
    this.#end = (sendEnd(tcb) + taken) | 0;
    this.#open = true;
    this.#pushed ??= this.#first;
    const much = ((this.#end - this.#pushed) | 0) > tcb.sndWndMax >>> 1; // half a window without PSH is enough
    if (much) this.#pushed = this.#end;
    this.more = taken < left && !much;
    return taken;
  }

  /** The call has waited: what it has begun is gone. */
  resume(): void {
    this.#open = false;
  }

  /** Whether all of it was sent, but not in one train: then there was a time when a part of it was not. */
  #leftInPart(tcb: Tcb): boolean {
    if (!this.#open || tcb.sndMax !== this.#end) return false;
    const { sent } = tcb;
    for (let place = sent.find(this.#first); place < sent.length; place++) {
      const at = sent.slot(place);
      if ((sent.flags[at]! & Sent.trainEnd) !== 0) return sent.end[at] !== this.#end;
    }
    return false;
  }
}
