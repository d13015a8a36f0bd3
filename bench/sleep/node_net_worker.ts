/**
 * A process that serves connections of the kernel through node:net: it tells its port, then, for each
 * line it is asked, how many connections it holds and its memory over the empty process.
 */
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { memoryNow, tell } from "../worker.ts";

/** What is told. */
export interface Held {
  readonly connections: number;
  readonly rssBytes: number;
  readonly usedBytes: number;
}

let connections = 0;
const server = createServer((socket) => {
  connections++;
  socket.on("data", (bytes) => socket.write(bytes)).on("error", () => {}).on("close", () => connections--);
});
server.listen(0, "127.0.0.1", 4_096, async () => {
  const empty = await memoryNow();
  tell({ port: (server.address() as AddressInfo).port });
  for await (const _ of createInterface({ input: process.stdin })) {
    const { rss, used } = await memoryNow();
    tell({ connections, rssBytes: rss - empty.rss, usedBytes: used - empty.used } satisfies Held);
  }
  process.exit(0);
});
