/** The server process, whose modules are loaded through the hook that makes them patchable. */
import process from "node:process";
import { parseArgs } from "node:util";
import { connectUnix, FileStore, offerPatches, PatchFolder, SleepyHost } from "../../mod.ts";
import { NETWORK } from "../survive_kill/talk.ts";
import { answerRequests } from "../survive_kill/worker.ts";
import { Chat } from "./rooms.ts";

const { values } = parseArgs({
  options: { folder: { type: "string" }, unix: { type: "string" }, idle: { type: "string" } },
});

/** The clients know it from the process before. */
const MAC = "52:54:00:70:07:01";

const chat = new Chat();
const lost: string[] = [];
let host: SleepyHost | undefined;

async function start(): Promise<Record<string, unknown>> {
  // What was applied before the process ended is applied again, before anybody can wake.
  const patches = await PatchFolder.open(`${values.folder}/patches`);
  offerPatches(patches);
  host = new SleepyHost({
    interfaces: [{ link: await connectUnix({ path: values.unix! }), mac: MAC }],
    addresses: [{ address: `${NETWORK.serverAddress}/${NETWORK.prefixLength}` }],
    subnets: [NETWORK.serverSubnet],
    store: await FileStore.open(`${values.folder}/store`),
    idleMs: Number(values.idle),
  });
  host.sleeper.on("lost", ({ id, error }) => lost.push(`${id}: ${error.message}`));
  host.serve({
    port: NETWORK.port,
    tcpBacklog: 4_096,
    open: (connection) => {
      connection.setNoDelay();
      connection.attachment = "";
    },
    data: (connection, bytes) => {
      const lines = ((connection.attachment as string) + new TextDecoder().decode(bytes)).split("\n");
      connection.attachment = lines.pop()!;
      for (const line of lines) connection.write(new TextEncoder().encode(`${chat.hear(line)}\n`));
    },
    close: (connection, error) => {
      if (error !== undefined) lost.push(`${connection.id}: ${error.message}`);
    },
  });
  await host.offerControl(`${values.folder}/control`);
  return { restored: patches.restored, recovered: host.recovered.connections };
}

answerRequests({
  start,
  counts: () => ({ ...host!.counts, spoken: chat.spoken, lost }),
});
process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});
