/**
 * Our end of `bench -- tun`: `server_worker.ts INTERFACE ADDRESS OFFLOADS [SHARDS, or "forwarding"]`. It says one line when it serves, and how
 * many bytes its sink has had when it is asked, and ends with its standard input.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { Shards } from "../../mod.ts";
import { spent, tell } from "../worker.ts";
import { serve, type Served } from "./serve.ts";

const [name, address, offloads, more] = process.argv.slice(2) as [string, string, string, string?];
const forwarding = more === "forwarding";
const served: Served = { name, address, offloads: offloads === "true", forwarding };
let received = (): number => 0;
if (more === undefined || forwarding) received = await serve(served);
else {
  const module = new URL("./shard_worker.ts", import.meta.url);
  await Shards.start({ module, count: Number(more), data: served });
}
createInterface({ input: process.stdin }).on("line", () => tell(spent(received()))).on(
  "close",
  () => process.exit(0),
);
tell("serves");
