/**
 * Our end of `bench -- tun`: `server_worker.ts INTERFACE ADDRESS OFFLOADS [SHARDS]`. It says one line when it serves, and ends
 * with its standard input.
 */
import process from "node:process";
import { Shards } from "../../mod.ts";
import { tell } from "../worker.ts";
import { serve, type Served } from "./serve.ts";

const [name, address, offloads, shards] = process.argv.slice(2) as [string, string, string, string?];
const served: Served = { name, address, offloads: offloads === "true" };
if (shards === undefined) await serve(served);
else {
  const module = new URL("./shard_worker.ts", import.meta.url);
  await Shards.start({ module, count: Number(shards), data: served });
}
process.stdin.resume().on("end", () => process.exit(0));
tell("serves");
