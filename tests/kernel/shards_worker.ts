/** One shard of shards_server.ts: an echo whose connections sleep. */
import { FileStore, joinShards, openTun, SleepyHost } from "../../mod.ts";

const shard = joinShards<{ name: string; folder: string; idleMs: number }>();
const { name, folder, idleMs } = shard.data;
const host = new SleepyHost({
  interfaces: [{ link: await openTun({ name, multiQueue: true }) }],
  addresses: [{ address: "10.77.0.1/24" }],
  store: await FileStore.open(`${folder}/${shard.index}`),
  idleMs,
  shard,
});
host.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
shard.ready();
