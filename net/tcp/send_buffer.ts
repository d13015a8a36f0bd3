import { queueBytesMax } from "./memory.ts";
import { sendEnd, type Tcb, TcpEvent } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/** Bytes that the application may hand over now. */
export function sendRoom(tcb: Tcb): number {
  const { sendQueue } = tcb;
  const room = Math.min(tcb.sendBufferBytes, queueBytesMax(tcb, sendQueue)) - sendQueue.length;
  const low = tcb.notSentLowWaterBytes;
  return Math.max(0, low === 0 ? room : Math.min(room, low - unsentBytes(tcb)));
}

/**
 * Tells an application that waits for room that there is some. With a low-water mark it is woken when half of it
 * has been sent (Linux's TCP_NOTSENT_LOWAT), or it would come with crumbs.
 */
export function tellWritable(tcp: Tcp, tcb: Tcb): void {
  if (!tcb.wantsWritable || tcb.sendQueue.length >= tcb.sendBufferBytes) return;
  if (tcb.memory?.tight && sendRoom(tcb) === 0) return;
  const low = tcb.notSentLowWaterBytes;
  if (low > 0 && 2 * unsentBytes(tcb) >= low) return;
  tcb.wantsWritable = false;
  tcp.notify(tcb, TcpEvent.writable);
}

/** Bytes written and never sent. */
export function unsentBytes(tcb: Tcb): number {
  return Math.max(0, (sendEnd(tcb) - tcb.sndMax) | 0);
}
