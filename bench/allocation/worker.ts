/** A process that works `count` packets and looks at its heap: see ../allocation.ts. */
import process from "node:process";
import { OneSided } from "../one_sided.ts";
import { memoryNow, tell } from "../worker.ts";

const [direction, count] = process.argv.slice(2) as ["receive" | "send" | "echo" | "echo", string];
/** Segments between two looks at the heap: few enough that the collector does not run in most of them. */
const WINDOW = 2_000;

const side = new OneSided();
side[direction](Math.min(20_000, Number(count))); // what is compiled now is not counted
const before = await memoryNow();
const perPacket: number[] = [];
let packets = 0;
while (packets < Number(count)) {
  const { heapUsed, external } = process.memoryUsage();
  const worked = side[direction](WINDOW);
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.external - heapUsed - external;
  if (bytes >= 0) perPacket.push(bytes / worked); // else the collector ran
  packets += worked;
}
const { used } = await memoryNow();
tell({ packets, perPacket, kept: used - before.used });
