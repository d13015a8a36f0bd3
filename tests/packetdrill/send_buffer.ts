import { Sent } from "../../net/tcp/sent_queue.ts";
import { cwndPackets, sendEnd, type Tcb } from "../../net/tcp/tcb.ts";

/**
 * How much Linux takes of a write. It counts the memory of packets, and looks only when it begins one, which is then
 * filled as far as it goes: a buffer that has some room takes more than that. The stack counts bytes; this is what the
 * system call makes of them.
 */

/** What a packet weighs beside its bytes. */
const PACKET_BYTES = 896;
/** A packet that is cut when it is sent: less than 64 KiB with all its headers. */
const WHOLE_PACKET_BYTES = 65_215;
const MSS_DEFAULT = 536;
/** Headers and what stands behind the bytes of a segment that lies in one piece, and Linux's own record of it. */
const SEGMENT_ROOM_BYTES = 640, SEGMENT_RECORD_BYTES = 256;
const INITIAL_SEGMENTS = 10;
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

function unsent(tcb: Tcb): number {
  return Math.max(0, (sendEnd(tcb) - tcb.sndMax) | 0);
}

/** The send buffer of one socket, as Linux reckons. */
export class LinuxSendBuffer {
  /** Where SO_SNDBUF has not set it, it grows while somebody waits. */
  #grown = 0;
  /** A write has found too little room, and nobody was told since then that there is some. */
  short = false;

  limit(tcb: Tcb): number {
    return tcb.sendBufferSet ? tcb.sendBufferBytes : Math.max(tcb.sendBufferBytes, this.#grown);
  }

  /** Whether who waits for room is woken: a third of the buffer is free, and half of what may be unsent. */
  hasSpace(tcb: Tcb): boolean {
    const used = memory(tcb), limit = this.limit(tcb), low = tcb.notSentLowWaterBytes;
    return used < limit && limit - used >= used >>> 1 && (low === 0 || 2 * unsent(tcb) < low);
  }

  /** Whether a packet may be begun. */
  mayBegin(tcb: Tcb): boolean {
    const low = tcb.notSentLowWaterBytes;
    return memory(tcb) < this.limit(tcb) && (low === 0 || unsent(tcb) < low);
  }

  /** Whether all of a write goes into the stack's own buffer, so that nothing needs to be reckoned. */
  fits(tcb: Tcb, count: number): boolean {
    const low = tcb.notSentLowWaterBytes;
    return !tcb.sendBufferSet && tcb.sendQueue.length + count <= tcb.sendBufferBytes &&
      (low === 0 || unsent(tcb) + count <= low);
  }

  /** Something was acknowledged. @returns Whether who waits is to be woken. */
  settle(tcb: Tcb): boolean {
    if (!this.short) return false;
    const segment = 2 ** Math.ceil(Math.log2(tcb.sndMss + SEGMENT_ROOM_BYTES)) + SEGMENT_RECORD_BYTES;
    this.#grown = Math.max(this.#grown, 2 * Math.max(INITIAL_SEGMENTS, cwndPackets(tcb)) * segment);
    if (!this.hasSpace(tcb)) return false;
    this.short = false;
    return true;
  }
}

/** One write: `next` says how much of it is taken now, as often as it is asked. */
export class LinuxWrite {
  readonly #buffer: LinuxSendBuffer;
  #first = 0;
  #end = 0;
  #open = false;
  #pushed: number | undefined;
  /** More follows what was taken last, which has no PSH then. */
  more = false;

  constructor(buffer: LinuxSendBuffer) {
    this.#buffer = buffer;
  }

  /** Bytes that are taken before the stack sends; 0: the call waits. */
  next(tcb: Tcb, left: number): number {
    const whole = packetBytes(tcb), waiting = unsent(tcb);
    // A packet that has left in part is filled up again.
    const refill = this.#open && (waiting > 0 || this.#leftInPart(tcb)) ? Math.max(0, whole - waiting) : 0;
    const begins = refill === 0;
    if (begins && !this.#buffer.mayBegin(tcb)) return 0;
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
    if (tcb.sndMax !== this.#end) return false;
    const { sent } = tcb;
    for (let place = sent.find(this.#first); place < sent.length; place++) {
      const at = sent.slot(place);
      if ((sent.flags[at]! & Sent.trainEnd) !== 0) return sent.end[at] !== this.#end;
    }
    return false;
  }
}
