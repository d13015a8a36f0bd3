/** The server process: echoes a running hash, lets its connections sleep, is killed. */
import { parseArgs } from "node:util";
import {
  type Analyzer,
  FileStore,
  type Link,
  listenUnix,
  openTun,
  ReconnectingLink,
  SleepyHost,
} from "../../mod.ts";
import { liveMemory } from "../live_memory.ts";
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
/** Nothing of this takes so long, even on a busy machine. */
const STUCK_MS_MAX = 20_000;

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

/** Waits for `done`, as long as there is progress. */
async function comesTrue(done: () => boolean, progress: () => number): Promise<void> {
  let stuckSinceMs = performance.now();
  for (let last = progress(); !done();) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const now = progress();
    if (now !== last) stuckSinceMs = performance.now();
    last = now;
    if (performance.now() - stuckSinceMs > STUCK_MS_MAX) {
      const { awake, asleep, waking } = host.counts;
      throw new Error(`Stuck with ${awake} connections awake, ${asleep} asleep, ${waking} waking`);
    }
  }
}

answerRequests({
  ready: () => ({ readyMs, recovered }),
  memory: async () => ({ ...await liveMemory(), ...host.counts }),
  /** Puts to sleep whoever is there. */
  nap: async () => ({ napping: await host.sleeper.suspendAll() }),
  forgetWarmUp: async () => {
    await comesTrue(() => host.stack.connections.size === 0, () => host.stack.connections.size);
    suspended = 0;
    firstSuspendMs = Infinity;
    return {};
  },
  /** Lets idle connections sleep and waits until all do. */
  sleep: async (_, progress) => {
    patient = false;
    const total = host.stack.connections.size;
    await comesTrue(() => host.counts.asleep === total, () => {
      progress(host.counts.asleep);
      return host.counts.asleep;
    });
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
