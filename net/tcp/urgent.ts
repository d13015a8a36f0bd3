import { seqLess } from "../../base/sequence.ts";
import { TcpFlag, type TcpRecord } from "../wire/tcp.ts";
import { sendEnd, type Tcb, TcpEvent, TcpState } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/**
 * Urgent data (RFC 9293 section 3.8.5, RFC 6093): a mark in the stream, and nothing else. The data stays in line;
 * the pointer names the octet behind the last urgent one, as the RFC says and everybody does.
 */

/** What has been queued so far is urgent: the pointer moves to its end (MUST-30, MUST-31: of any length). */
export function markUrgent(tcb: Tcb): void {
  tcb.sndUrgent = true;
  tcb.sndUp = sendEnd(tcb);
}

/** Whether urgent data of ours has not been acknowledged: such data waits for no other (Nagle). */
export function isSendingUrgent(tcb: Tcb): boolean {
  if (tcb.sndUrgent && !seqLess(tcb.sndUna, tcb.sndUp)) tcb.sndUrgent = false;
  return tcb.sndUrgent;
}

/** Puts URG and the pointer into a segment of ours that starts before the mark (MUST-62). */
export function writeUrgent(tcb: Tcb, segment: TcpRecord): void {
  const ahead = (tcb.sndUp - segment.sequence) | 0;
  if (ahead <= 0 || !isSendingUrgent(tcb)) return;
  segment.flags |= TcpFlag.URG;
  segment.urgentPointer = Math.min(ahead, 0xffff); // the rest follows in later segments
}

/**
 * A segment with URG arrived, in the window or with the window closed (MUST-66). The application is told once
 * until it has read as far as the mark (MUST-32), however far the mark moves on meanwhile.
 */
export function takeUrgent(tcp: Tcp, tcb: Tcb, segment: TcpRecord): void {
  const open = tcb.state === TcpState.established || tcb.state === TcpState.finWait1 ||
    tcb.state === TcpState.finWait2;
  if (!open || tcb.orphan || segment.urgentPointer === 0) return;
  const pointer = (segment.sequence + segment.urgentPointer) | 0;
  const left = urgentBytes(tcb);
  if (((pointer - readPosition(tcb)) | 0) <= left) return; // read already, or no news
  tcb.rcvUrgent = true;
  tcb.rcvUp = pointer;
  if (left === 0) tcp.notify(tcb, TcpEvent.urgent);
}

/** Bytes up to the mark that the application has not read; 0 when nothing is urgent (MUST-33). */
export function urgentBytes(tcb: Tcb): number {
  if (!tcb.rcvUrgent) return 0;
  const left = (tcb.rcvUp - readPosition(tcb)) | 0;
  if (left <= 0) tcb.rcvUrgent = false;
  return Math.max(0, left);
}

/** Sequence number of the next byte that the application will read. */
function readPosition(tcb: Tcb): number {
  return (tcb.rcvNxt - (tcb.finReceived ? 1 : 0) - tcb.receiveQueue.length) | 0;
}

/** The marks as whole numbers, for an image: distances from SND.UNA and RCV.NXT. */
export function freezeUrgent(tcb: Tcb): number[] {
  const sending = isSendingUrgent(tcb);
  const reading = urgentBytes(tcb) > 0;
  if (!sending && !reading) return [];
  const sent = sending ? (tcb.sndUp - tcb.sndUna) | 0 : 0;
  return reading ? [sent, 1, (tcb.rcvUp - tcb.rcvNxt) | 0] : [sent];
}

/** Puts them back; the sequence numbers are there already. */
export function thawUrgent(state: readonly number[], tcb: Tcb): void {
  const { 0: sent = 0, 1: reading = 0, 2: received = 0 } = state;
  tcb.sndUrgent = sent > 0;
  tcb.sndUp = (tcb.sndUna + sent) | 0;
  tcb.rcvUrgent = reading !== 0;
  tcb.rcvUp = (tcb.rcvNxt + received) | 0;
}
