/**
 * The process that holds them all: `server_worker.ts FOLDER IDLE_MS`. An echo over TUN whose idle connections sleep.
 * Asked anything, it tells how it is.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { SleepyHost } from "../../checkpoint/host.ts";
import { FileStore } from "../../checkpoint/store/mod.ts";
import type { Link } from "../../net/link/link.ts";
import { openTun } from "../../net/link/tun.ts";
import { memoryNow, tell } from "../worker.ts";
import { SERVER, TUN } from "./network.ts";

/** How the server is. */
export interface Held {
  readonly awake: number;
  readonly asleep: number;
  /** Bytes over the empty process. */
  readonly rssBytes: number;
  readonly usedBytes: number;
  readonly restores: number;
  /** Microseconds from a packet with data, handed over by the link, to the application, since it was asked last. */
  readonly toApplicationUs: number[];
  /** What went wrong: connections that broke, images that were lost, refusals of the store. */
  readonly broken: number;
}
/** The first line, once it serves. */
export interface Ready {
  /** Connections that it found asleep. */
  readonly recovered: number;
  /** Milliseconds from the start of the process. */
  readonly readyMs: number;
}

const TCP = 6;
const [folder, idleMs] = process.argv.slice(2) as [string, string];

const arrivedMs = new Map<number, number>(); // by the client's address and port
let toApplicationUs: number[] = [];
let broken = 0;

/** Notes when data arrives. */
function stamped(link: Link): Link {
  return Object.create(link, {
    medium: { value: link.medium },
    mtu: { value: link.mtu },
    counters: { value: link.counters },
    send: { value: link.send.bind(link) },
    flush: { value: link.flush.bind(link) },
    close: { value: link.close.bind(link) },
    open: {
      value: (sink: Parameters<Link["open"]>[0]): void =>
        link.open({
          receive: (slab, start, end) => {
            const { bytes, view } = slab;
            const transport = start + 4 * (bytes[start]! & 15);
            if (bytes[start + 9] === TCP && end > transport + 4 * (bytes[transport + 12]! >> 4)) {
              const key = (view.getUint32(start + 12) & 0xffff) * 65_536 + view.getUint16(transport);
              arrivedMs.set(key, performance.now());
            }
            sink.receive(slab, start, end);
          },
          flush: () => sink.flush(),
          closed: (error) => sink.closed(error),
        }),
    },
  }) as Link;
}

const empty = await memoryNow(); // before the store is opened: what it keeps in memory counts
const host = new SleepyHost({
  interfaces: [{ link: stamped(await openTun({ name: TUN })) }],
  addresses: [{ address: SERVER.network }],
  routes: [{ destination: "10.9.0.0/16" }],
  store: await FileStore.open(folder),
  idleMs: Number(idleMs),
});
host.sleeper.on("error", (error) => {
  console.error(error);
  broken++;
});
host.sleeper.on("lost", () => broken++);
host.serve({
  port: SERVER.port,
  tcpBacklog: 4_096,
  data: (connection, bytes) => {
    const { hostname, port } = connection.remoteAddr;
    const [, , c, d] = hostname.split(".").map(Number);
    const sinceMs = arrivedMs.get((c! * 256 + d!) * 65_536 + port);
    if (sinceMs !== undefined) toApplicationUs.push((performance.now() - sinceMs) * 1000);
    connection.write(bytes);
  },
  close: () => broken++,
});
tell({ recovered: host.counts.asleep, readyMs: performance.now() } satisfies Ready);

createInterface({ input: process.stdin }).on("line", async () => {
  arrivedMs.clear();
  const us = toApplicationUs;
  toApplicationUs = [];
  const { rss, used } = await memoryNow();
  const { awake, asleep } = host.counts;
  tell(
    {
      ...{ awake, asleep, restores: host.sleeper.stats.restores, broken },
      rssBytes: rss - empty.rss,
      usedBytes: used - empty.used,
      toApplicationUs: us,
    } satisfies Held,
  );
}).on("close", () => process.exit(0));
