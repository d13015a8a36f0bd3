/**
 * The server process: takes over from the one before it, if there is one, and serves until it is taken over from.
 * Everything that takes time, which is loading all of this, happens before the other one is asked to stop.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { connectUnix, FileStore, type HandoverError, type Link, openTun, SleepyHost } from "../../mod.ts";
import { answer, type Heard, NETWORK, nothingHeard } from "../survive_kill/talk.ts";
import { answerRequests } from "../survive_kill/worker.ts";

const { values } = parseArgs({
  options: {
    folder: { type: "string" },
    unix: { type: "string" },
    tun: { type: "string" },
    mac: { type: "string" },
    idle: { type: "string" },
  },
});
const handover = `${values.folder}/handover`;

let host: SleepyHost | undefined;
const lost: string[] = [];

async function start(): Promise<Record<string, unknown>> {
  const askedMs = performance.now();
  const taken = await SleepyHost.takeOver(handover).catch((error: HandoverError) => {
    if (error.reason !== "nobody") throw error; // the first of all finds nobody
    return undefined;
  });
  const goneMs = performance.now();
  const link: Link = values.tun === undefined
    ? await connectUnix({ path: values.unix! })
    : await openTun({ name: values.tun });
  host = new SleepyHost({
    interfaces: [{ link, ...(values.mac === undefined ? {} : { mac: values.mac }) }],
    addresses: [{ address: `${NETWORK.serverAddress}/${NETWORK.prefixLength}` }],
    subnets: [NETWORK.serverSubnet],
    store: await FileStore.open(values.folder!),
    idleMs: Number(values.idle),
  });
  host.sleeper.on("lost", ({ id, error }) => lost.push(`${id}: ${error.message}`));
  host.sleeper.on("error", (error) => lost.push(error.message));
  host.serve({
    port: NETWORK.port,
    tcpBacklog: 4_096,
    open: (connection) => {
      connection.setNoDelay();
      connection.attachment = nothingHeard();
    },
    data: (connection, bytes) => {
      connection.write(answer(connection.attachment as Heard, bytes));
    },
    close: (connection, error) => {
      if (error !== undefined) lost.push(`${connection.id}: ${error.message}`);
    },
  });
  const { done } = await host.offerHandover(handover);
  void done.then(() => process.exit(0));
  return {
    recovered: host.recovered.connections,
    stopMs: goneMs - askedMs,
    startMs: performance.now() - goneMs,
    ...(taken === undefined ? {} : { from: taken.pid }),
  };
}

answerRequests({
  start,
  counts: () => ({ ...host!.counts, lost }),
});
