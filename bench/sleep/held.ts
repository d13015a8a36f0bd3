import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { Runtime } from "../../base/runtime.ts";
import { Worker } from "../worker.ts";
import type { Held, HolderKind } from "./holder_worker.ts";

/** A process that holds awake connections: what they cost it and the kernel, and how fast it answers one. */
export interface Holder extends Held {
  readonly name: string;
  /** The kernel's memory for one end of a connection; `undefined` where nobody counts it. */
  readonly kernelBytes: number | undefined;
  readonly answerUs: { readonly p50: number; readonly p99: number };
}

/** Sockets that connect at a time. */
const CONNECTING = 256;
const ROUND_TRIPS = 2_000;
const MESSAGE = new Uint8Array(64);
/** One text message of 64 bytes, masked with zeros; its echo has no mask. */
const WS_MESSAGE = Uint8Array.of(0x81, 0x80 | MESSAGE.length, 0, 0, 0, 0, ...MESSAGE.fill(0x61));
const WS_ECHO_BYTES = 2 + MESSAGE.length;
const UPGRADE = [
  "GET / HTTP/1.1",
  "Host: bench",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
  "",
  "",
].join("\r\n");

/** Who is measured, and on what each runs. */
export const HOLDERS: readonly { kind: HolderKind; on: Runtime; name: string }[] = [
  { kind: "node-net", on: "node", name: "Node, net" },
  { kind: "node-ws", on: "node", name: "Node, ws" },
  { kind: "deno", on: "deno", name: "Deno, listen" },
  { kind: "bun", on: "bun", name: "Bun, listen" },
];

/** Opens up to `count` connections to a process, each of which says something and is silent; `undefined` when it cannot run. */
export async function hold(
  { kind, on, name }: typeof HOLDERS[number],
  count: number,
): Promise<Holder | undefined> {
  await using worker = new Worker("sleep/holder_worker.ts", [kind], [], undefined, on);
  let port: number;
  try {
    ({ port } = await worker.answer<{ port: number }>());
  } catch {
    return undefined; // that runtime is not installed
  }
  const sockets: Socket[] = [];
  try {
    const slabBefore = slabBytes();
    while (sockets.length < count) {
      const some = Array.from(
        { length: Math.min(CONNECTING, count - sockets.length) },
        () => talkOnce(port, kind === "node-ws"),
      );
      const settled = await Promise.allSettled(some);
      for (const each of settled) if (each.status === "fulfilled") sockets.push(each.value);
      if (settled.some(({ status }) => status === "rejected")) break; // no more file descriptors
    }
    const held = await worker.ask<Held>();
    const slabs = slabBytes();
    const kernelBytes = slabs === undefined ? undefined : (slabs - slabBefore!) / (2 * sockets.length);
    const us: number[] = [];
    const message = kind === "node-ws" ? WS_MESSAGE : MESSAGE;
    for (let round = 0; round < ROUND_TRIPS; round++) us.push(await roundTripUs(sockets[0]!, message));
    us.sort((a, b) => a - b);
    const answerUs = { p50: us[ROUND_TRIPS * 0.5]!, p99: us[ROUND_TRIPS * 0.99]! };
    return { name, ...held, kernelBytes, answerUs };
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

/** All memory of the kernel's object caches, of which the sockets are the most that grows here. */
function slabBytes(): number | undefined {
  try {
    return 1024 * Number(/^Slab: +(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))![1]);
  } catch {
    return undefined; // no Linux
  }
}

/** Microseconds until what a socket says has come back. */
function roundTripUs(socket: Socket, message: Uint8Array): Promise<number> {
  const startMs = performance.now();
  return new Promise((resolve) => {
    socket.once("data", () => resolve((performance.now() - startMs) * 1000));
    socket.write(message);
  });
}

/** Connects, says something, gets its echo and is silent. */
function talkOnce(port: number, webSocket: boolean): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      if (webSocket) socket.write(UPGRADE);
      socket.write(webSocket ? WS_MESSAGE : MESSAGE);
    });
    let heard = "";
    const hear = (bytes: Uint8Array): void => {
      heard += Buffer.from(bytes).toString("latin1");
      const start = webSocket ? heard.indexOf("\r\n\r\n") + 4 : 0;
      if (heard.length < start + (webSocket ? WS_ECHO_BYTES : MESSAGE.length) || (webSocket && start < 4)) {
        return;
      }
      socket.off("data", hear);
      socket.resume();
      resolve(socket);
    };
    socket.on("data", hear).on("error", reject);
  });
}
