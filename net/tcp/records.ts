import { seqLessEqual } from "../../base/sequence.ts";
import type { RowReader, RowWriter } from "./frozen_row.ts";
import { sendEnd, type Tcb } from "./tcb.ts";

/**
 * Ends of records (MSG_EOR): what the application writes behind one begins a segment of its own, now and when it is
 * sent again. The peer sees the same stream of bytes; its network card and its application see whole records.
 */

/** Ends that are still unsent. Who writes more records than that ahead of the network does without their borders. */
export const RECORDS_MAX = 1_024;

/** A record ends with what was written last. */
export function markRecordEnd(tcb: Tcb): void {
  if (tcb.records.length < RECORDS_MAX) tcb.records.push(sendEnd(tcb));
}

/** Bytes from SND.NXT to the end of the record that is sent next; `Infinity` when none ends. */
export function bytesOfRecord(tcb: Tcb): number {
  const { records } = tcb;
  return records.length === 0 ? Infinity : (records[0]! - tcb.sndMax) | 0;
}

/** What ends at `end` has left: nothing unsent has the ends up to there any more. */
export function takeRecordEnd({ records }: Tcb, end: number): void {
  while (records.length > 0 && seqLessEqual(records[0]!, end)) records.shift();
}

/** Adds the ends to `row` as distances from SND.UNA, for an image. */
export function freezeRecords(tcb: Tcb, into: RowWriter): void {
  for (let at = 0; at < tcb.records.length; at++) into.put((tcb.records[at]! - tcb.sndUna) >>> 0);
}

/** Puts them back; `sndUna` is there already. */
export function thawRecords(row: RowReader, tcb: Tcb): void {
  if (tcb.records.length > 0) tcb.records.length = 0;
  while (!row.ended) tcb.records.push((tcb.sndUna + row.next()) | 0);
}
