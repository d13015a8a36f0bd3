/** A process that works `count` packets and looks at its heap: see ../allocation.ts. */
import process from "node:process";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { OneSided } from "../one_sided.ts";
import { memoryNow, tell } from "../worker.ts";
import { OneSidedDatagrams } from "./datagrams.ts";
import { allocationSites } from "./sites.ts";

/** Segments between two looks at the heap: few enough that the collector does not run in most of them. */
const WINDOW = 2_000;
/** Packets while sites are looked for. */
const SITES = 200_000;
/** What is told of. */
const SITE_BYTES_MIN = 0.05;

interface Side {
  /** Makes what the turns of so many packets need of the bench itself. */
  prepare(packets: number): void;
}

/** 100 rules, none of which is about these packets, behind one that lets pass what belongs to a flow. */
function rules(): string {
  const others = Array.from({ length: 100 }, (_, at) => `udp dport ${8_000 + at} counter drop`);
  return `table inet t {
chain c {
type filter hook input priority 0; policy accept;
${others.join("\n")}
ct state established accept
}
chain o {
type filter hook output priority 0; policy accept;
${others.join("\n")}
}
}
`;
}

function sideFor(work: string): { side: Side; run: (count: number) => number } {
  if (work === "datagramsIn" || work === "datagramsOut") {
    const side = new OneSidedDatagrams();
    return { side, run: (count) => side[work](count) };
  }
  const [direction, ruled] = work.split("+") as ["receive" | "send" | "echo", string?];
  const side = new OneSided(ruled === undefined ? undefined : readTextRules(rules()));
  return { side, run: (count) => side[direction](count) };
}

const [work, count] = process.argv.slice(2) as [string, string];
const { side, run } = sideFor(work);
side.prepare(WINDOW);
/** What two looks at the heap allocate by themselves. */
let looks = Infinity;
for (let at = 0; at < 100; at++) {
  const { heapUsed, external } = process.memoryUsage();
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.external - heapUsed - external;
  if (bytes >= 0) looks = Math.min(looks, bytes);
}
for (let packets = 0; packets < Math.min(100_000, Number(count));) { // what is compiled now is not counted
  side.prepare(WINDOW);
  packets += run(WINDOW);
}
const before = await memoryNow();
const perPacket: number[] = [];
let packets = 0;
while (packets < Number(count)) {
  side.prepare(WINDOW);
  const { heapUsed, external } = process.memoryUsage();
  const worked = run(WINDOW);
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.external - heapUsed - external - looks;
  if (bytes >= -looks) perPacket.push(Math.max(0, bytes) / worked); // else the collector ran
  packets += worked;
}
const { used } = await memoryNow();
let worked = 0;
const sites = await allocationSites(() => {
  while (worked < Math.min(SITES, Number(count))) {
    side.prepare(WINDOW);
    worked += run(WINDOW);
  }
});
tell({
  packets,
  perPacket,
  kept: used - before.used,
  sites: sites?.filter(([site]) => !site.startsWith("prepare ")).map((
    [site, bytes],
  ) => [site, bytes / worked])
    .filter(([, bytes]) => (bytes as number) >= SITE_BYTES_MIN).slice(0, 3),
});
