/** The server process: echoes a running hash, sleeps when told to be patient no longer, is killed. */
import { parseArgs } from "node:util";
import process from "node:process";
import { type Analyzer, FileStore, type Link, listenUnix, openTun, SleepyHost } from "../../mod.ts";
import { ReconnectingLink } from "./reconnecting_link.ts";
import { answer, type Heard, NETWORK, nothingHeard } from "./talk.ts";
import { answerRequests } from "./worker.ts";

const startedMs = performance.now();
const { values } = parseArgs({
  options: {
    folder: { type: "string" },
    unix: { type: "string" },
    tun: { type: "string" },
    mac: { type: "string" },
    idle: { type: "string", default: "300" },
    awake: { type: "boolean", default: false },
  },
});
const idleMs = Number(values.idle);

/** Idle connections sleep, but not before the memory of all of them awake has been looked at. */
let patient = values.awake;
const analyzer: Analyzer = {
  stayAwakeMs: (tcb, nowMs) => patient ? idleMs : Math.max(0, tcb.lastActivityMs + idleMs - nowMs),
};

const store = await FileStore.open(values.folder!);
const link: Link = values.tun === undefined ? new ReconnectingLink() : await openTun({ name: values.tun });
const host = new SleepyHost({
  interfaces: [{ link, ...(values.mac === undefined ? {} : { mac: values.mac }) }],
  addresses: [{ address: `${NETWORK.serverAddress}/${NETWORK.prefixLength}` }],
  subnets: [NETWORK.serverSubnet],
  store,
  analyzer,
});
const recovered = host.counts.asleep;

let opened = 0;
let closed = 0;
const lost: string[] = [];
let firstSuspendMs = Infinity;
let lastSuspendMs = 0;
let suspended = 0;
host.sleeper.on("suspended", () => {
  suspended++;
  lastSuspendMs = performance.now();
  firstSuspendMs = Math.min(firstSuspendMs, lastSuspendMs);
});
host.sleeper.on("lost", ({ id, error }) => lost.push(`${id}: ${error.message}`));
host.sleeper.on("error", (error) => lost.push(error.message));
host.serve({
  port: NETWORK.port,
  tcpBacklog: 4_096,
  open: (connection) => {
    opened++;
    connection.setNoDelay(); // an answer's last, short segment does not wait for the ACK of those before
    connection.attachment = nothingHeard();
  },
  data: (connection, bytes) => {
    connection.write(answer(connection.attachment as Heard, bytes));
  },
  close: (connection, error) => {
    closed++;
    if (error !== undefined) lost.push(`${connection.id}: ${error.message}`);
  },
});
// Only now: a packet that came earlier would find no listener.
if (link instanceof ReconnectingLink) {
  await listenUnix({ path: values.unix!, onLink: (carrier) => link.attach(carrier) });
}
const readyMs = performance.now() - startedMs;

/** Live memory: what is left when all garbage is gone. */
async function memory(): Promise<Record<string, unknown>> {
  const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
  for (let round = 0; round < 3; round++) {
    gc?.();
    Bun?.gc(true);
    await new Promise((resolve) => setTimeout(resolve, 20)); // finalizers run between turns
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rssBytes: rss, liveBytes: heapUsed + external, ...host.counts };
}

answerRequests({
  ready: () => ({ readyMs, recovered }),
  memory,
  /** Lets idle connections sleep and waits until all do. */
  sleep: async (_, progress) => {
    patient = false;
    const total = host.stack.connections.size;
    const beforeMs = performance.now();
    while (host.counts.asleep < total) {
      if (performance.now() - beforeMs > 60_000) {
        throw new Error(`After 60 s ${total - host.counts.asleep} of ${total} connections are still awake`);
      }
      progress(host.counts.asleep);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const { recordsLive, bytesLive, bytesTotal, syncs } = store.stats;
    const suspendMs = lastSuspendMs - firstSuspendMs;
    return { suspended, suspendMs, recordsLive, bytesLive, bytesTotal, syncs };
  },
  report: () => ({
    opened,
    closed,
    restored: host.sleeper.stats.restores,
    lost,
  }),
});
