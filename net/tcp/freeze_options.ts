import type { RowReader, RowWriter } from "./frozen_row.ts";
import { freezeRecords, thawRecords } from "./records.ts";
import type { Tcb } from "./tcb.ts";

/** Defaults of the format, whatever today's configuration says. */
const FIN_WAIT_2_MS = 60_000;

/** The application's options beyond those that have places of their own, as whole numbers: 0 is the default. */
export function freezeOptions(tcb: Tcb, into: RowWriter): void {
  into.put(tcb.cork ? 1 : 0);
  into.put(tcb.lingerMs + 1);
  into.put(tcb.finWait2Ms - FIN_WAIT_2_MS);
  into.put(tcb.notSentLowWaterBytes);
  into.put(tcb.mssMax);
  into.put(tcb.synRetransmitsMax);
  into.put(tcb.pathMtuDiscovery ? 0 : 1);
  into.put((tcb.more ? 1 : 0) | (tcb.push << 1));
  freezeRecords(tcb, into);
  into.end();
}

/** Puts them back. */
export function thawOptions(row: RowReader, tcb: Tcb): void {
  tcb.cork = row.next() !== 0;
  tcb.lingerMs = row.next() - 1;
  tcb.finWait2Ms = row.next() + FIN_WAIT_2_MS;
  tcb.notSentLowWaterBytes = row.next();
  tcb.mssMax = row.next();
  tcb.synRetransmitsMax = row.next();
  tcb.pathMtuDiscovery = row.next() === 0;
  const more = row.next();
  tcb.more = (more & 1) !== 0;
  tcb.push = more >>> 1;
  thawRecords(row, tcb);
}
