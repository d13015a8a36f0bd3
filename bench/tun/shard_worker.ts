/** One shard of a server_worker.ts. */
import { joinShards } from "../../mod.ts";
import { serve, type Served } from "./serve.ts";

const shard = joinShards<Served>();
await serve(shard.data, shard);
shard.ready();
