/**
 * A host that works, and looks at its heap now and then: see ../allocation.ts. `host_worker.ts pipeBulk MS`, `pipeEcho`: both
 * ends are here, Deno's calls at the one and handlers at the other. `tunBulk MS INTERFACE ADDRESS`: somebody else writes to
 * port 9 of it, or to port 7 and waits (`tunEcho`), from the line "serves" on.
 */
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { type Link, MemoryStore, openTun, pipe, SleepyHost } from "../../mod.ts";
import { memoryNow, tell } from "../worker.ts";
import { allocationSites } from "./sites.ts";

/** Between two looks at the heap. */
const LOOK_MS = 20;
const WARM_UP_MS = 2_000;
const SITE_BYTES_MIN = 0.05;
const ECHO = 7, DISCARD = 9;

const [work, ms, name, address] = process.argv.slice(2) as [string, string, string?, string?];
const [near, far] = name === undefined ? pipe({ medium: "ip" }) : [await openTun({ name })];
const host = (link: Link, own: string): SleepyHost =>
  new SleepyHost({ interfaces: [{ link }], addresses: [{ address: own }], store: new MemoryStore() });
const server = host(near, address ?? "10.0.0.1/24");
server.serve({ port: DISCARD, data() {} });
server.serve({
  port: ECHO,
  open: (connection) => connection.setNoDelay(),
  data: (connection, bytes) => void connection.write(bytes),
});
let over = false;
let working: Promise<void> = Promise.resolve();
if (far !== undefined) {
  const port = work === "pipeEcho" ? ECHO : DISCARD;
  const conn = await host(far, "10.0.0.2/24").connect({ hostname: "10.0.0.1", port });
  conn.setNoDelay();
  const chunk = new Uint8Array(port === ECHO ? 1 : 256 * 1024);
  working = (async () => {
    while (!over) {
      await conn.write(chunk);
      if (port === ECHO) await conn.read(chunk);
    }
  })();
} else tell("serves");

/** Frames that have crossed our links: of a pipe, one that leaves an end and comes to the other is one. */
const frames = (): number => near.counters.framesIn + near.counters.framesOut;

while (frames() < 100) await setTimeout(LOOK_MS);
await setTimeout(WARM_UP_MS);
const before = await memoryNow();
const perPacket: number[] = [];
const first = frames();
const untilMs = performance.now() + Number(ms);
while (performance.now() < untilMs) {
  const { heapUsed, external } = process.memoryUsage();
  const seen = frames();
  await setTimeout(LOOK_MS);
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.external - heapUsed - external;
  const packets = frames() - seen;
  if (bytes >= 0 && packets > 0) perPacket.push(bytes / packets); // else the collector ran
}
const packets = frames() - first;
let sampled = 0;
const sites = await allocationSites(async () => {
  const seen = frames();
  await setTimeout(1_000);
  sampled = frames() - seen;
});
over = true;
await working;
const { used } = await memoryNow();
tell({
  packets,
  perPacket,
  kept: used - before.used,
  sites: sites?.map(([site, bytes]): [string, number] => [site, bytes / sampled])
    .filter(([, bytes]) => bytes >= SITE_BYTES_MIN).slice(0, 3),
});
process.exit(0);
