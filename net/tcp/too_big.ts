import { seqLess } from "../../base/sequence.ts";
import { pathMtuMin } from "../ip/path_mtu.ts";
import type { RowReader, RowWriter } from "./frozen_row.ts";
import { mssOf, mtuOf, packetTooBig, updateMss } from "./path_mtu.ts";
import type { Tcb } from "./tcb.ts";
import type { Tcp } from "./tcp.ts";

/**
 * A router says that the segment at `sequence`, which is in flight, was too big for a link of `mtu` bytes. Nobody
 * knows whether it was a router. Where longer packets have got through it must wait until this one has timed out
 * (RFC 5927 section 7.2); else the path is being found out, and it is believed at once.
 */
export function claimTooBig(tcp: Tcp, tcb: Tcb, mtu: number, sequence: number, nowMs: number): void {
  const proven = tcb.provenBytes > 0 && mtuOf(tcb, tcb.provenBytes) > mtu;
  if (tcp.config.tooBigWaits && proven && tcb.retransmits === 0) {
    tcp.counters.tooBigWaited++;
    tcb.tooBigMtu = mtu;
    tcb.tooBigSeq = sequence;
    return;
  }
  tcp.output.lowerMtu(tcb.remoteAddress, mtu);
  tcb.provenBytes = Math.min(tcb.provenBytes, mssOf(tcb, mtu));
  packetTooBig(tcp, tcb, nowMs);
}

/** A timeout: nothing gets through. What a router claimed meanwhile counts, if it is about what is in flight. */
export function believeTooBig(tcp: Tcp, tcb: Tcb): void {
  const { tooBigMtu: mtu, tooBigSeq } = tcb;
  if (mtu === 0) return;
  tcb.tooBigMtu = 0;
  if (seqLess(tooBigSeq, tcb.sndUna)) return; // it has arrived: that was a lie, or a path of yesterday
  tcp.output.lowerMtu(tcb.remoteAddress, mtu);
  tcb.provenBytes = Math.min(tcb.provenBytes, mssOf(tcb, mtu));
  updateMss(tcp, tcb);
}

/** Whether the peer has acknowledged a full segment: so an image says it without a number. */
export function fullSegmentProven(tcb: Tcb): boolean {
  return tcb.provenBytes >= tcb.sndMss;
}

/** As whole numbers; nothing while no claim waits and none would have to, or a full segment is proven. */
export function freezeTooBig(tcb: Tcb, into: RowWriter): void {
  const matters = !fullSegmentProven(tcb) && mtuOf(tcb, tcb.provenBytes) > pathMtuMin(tcb.remoteAddress);
  const proven = matters ? tcb.provenBytes : 0;
  into.put(proven);
  if (tcb.tooBigMtu === 0) return into.end();
  into.put(tcb.tooBigMtu);
  into.put((tcb.tooBigSeq - tcb.sndUna) | 0);
}

/** Puts them back; `sndUna` and `sndMss` are there already. */
export function thawTooBig(row: RowReader, fullProven: boolean, tcb: Tcb): void {
  const proven = row.next();
  tcb.provenBytes = fullProven ? tcb.sndMss : proven;
  tcb.tooBigMtu = row.next();
  tcb.tooBigSeq = (tcb.sndUna + row.next()) | 0;
}
