/**
 * A process that echoes over connections of the kernel: `holder_worker.ts KIND` tells its port, then, for each line that
 * it is asked, how many connections it holds and its memory over the empty process. What it serves with is its runtime's
 * own, as somebody would write it who does not think of memory.
 */
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { memoryNow, tell } from "../worker.ts";

/** What holds the connections. */
export type HolderKind = "node-net" | "node-ws" | "deno" | "bun";

/** What is told. */
export interface Held {
  readonly connections: number;
  readonly rssBytes: number;
  readonly usedBytes: number;
}

let connections = 0;

/** Serves on a free port of the loopback; resolves with it. */
const SERVERS: Record<HolderKind, () => Promise<number>> = {
  async "node-net"() {
    const server = createServer((socket) => {
      connections++;
      socket.on("data", (bytes) => socket.write(bytes)).on("error", () => {}).on(
        "close",
        () => connections--,
      );
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", 4_096, resolve));
    return (server.address() as AddressInfo).port;
  },
  async "node-ws"() {
    const { WebSocketServer } = await import("ws");
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4_096 });
    server.on("connection", (socket) => {
      connections++;
      socket.on("message", (message) => socket.send(message)).on("error", () => {});
      socket.on("close", () => connections--);
    });
    await new Promise<void>((resolve) => void server.once("listening", resolve));
    return (server.address() as AddressInfo).port;
  },
  async deno() {
    const { Deno } = globalThis as unknown as { Deno: { listen(options: object): DenoListener } };
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    void (async () => {
      for await (const conn of listener) {
        connections++;
        conn.readable.pipeTo(conn.writable).catch(() => {}).finally(() => connections--);
      }
    })();
    return await Promise.resolve(listener.addr.port);
  },
  async bun() {
    const { Bun } = globalThis as unknown as { Bun: { listen(options: object): { port: number } } };
    const socket = {
      open: () => void connections++,
      data: (each: { write(bytes: Uint8Array): void }, bytes: Uint8Array) => each.write(bytes),
      close: () => void connections--,
    };
    return await Promise.resolve(Bun.listen({ hostname: "127.0.0.1", port: 0, socket }).port);
  },
};

interface DenoListener extends AsyncIterable<{ readable: ReadableStream; writable: WritableStream }> {
  readonly addr: { readonly port: number };
}

const port = await SERVERS[process.argv[2] as HolderKind]();
const empty = await memoryNow();
tell({ port });
for await (const _ of createInterface({ input: process.stdin })) {
  const { rss, used } = await memoryNow();
  tell({ connections, rssBytes: rss - empty.rss, usedBytes: used - empty.used } satisfies Held);
}
process.exit(0);
