/**
 * Shards on a TUN interface: `shards_server.ts INTERFACE FOLDER IDLE_MS COUNT`. Each line on standard input is answered
 * with what each shard has.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { Shards } from "../../mod.ts";

const [name, folder, idleMs, count] = process.argv.slice(2);
const shards = await Shards.start({
  module: new URL("./shards_worker.ts", import.meta.url),
  count: Number(count),
  data: { name, folder, idleMs: Number(idleMs) },
});
createInterface({ input: process.stdin })
  .on(
    "line",
    async () => console.log(JSON.stringify({ each: await shards.each(), totals: await shards.totals() })),
  )
  .on("close", async () => {
    await shards.close();
    console.log("closed");
  });
console.log("ready");
