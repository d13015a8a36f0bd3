/**
 * A server on a TUN interface for the tests in this folder: run in a namespace, told what to do by
 * its arguments, asked for its counts by lines on standard input.
 *
 *   server.ts INTERFACE ADDRESS/PREFIX[,ADDRESS/PREFIX] STORE_FOLDER IDLE_MS tun|bare|tap [RECORDING]
 *
 * `bare` is a TUN interface without offloads: what a capture on it shows is what each side has made by itself.
 *
 * A line "frame HEX" is a frame that arrives, as if from the link; every other line asks for the counts.
 */
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import process from "node:process";
import * as v8 from "node:v8";
import {
  type DatagramConn,
  FileStore,
  openTun,
  recordTo,
  Slab,
  SleepyHost,
  type TcpConn,
} from "../../mod.ts";
import { Tcb } from "../../net/tcp/tcb.ts";
import { serveIperf3, writeAll } from "../support/iperf3.ts";
import { pattern } from "./pattern.ts";

const [name, addresses, folder, idleMs, mode, recording] = process.argv.slice(2);
const link = await openTun({
  name: name!,
  mode: mode === "tap" ? "tap" : "tun",
  offloads: mode === "tun",
});
const store = await FileStore.open(folder!);
const host = new SleepyHost({
  // On an Ethernet it has the same addresses after every start.
  interfaces: [{ link, mac: "02:00:00:00:77:01", ipv6: { secret: new Uint8Array(16).fill(7) } }],
  addresses: addresses === "" ? [] : addresses!.split(",").map((address) => ({ address })),
  store,
  idleMs: Number(idleMs),
  ...(recording === undefined ? {} : { recorder: recordTo(recording) }),
});
host.sleeper.on("error", (error) => console.error(error));

// Port 7: echo, with handlers; the attachment counts what this connection has seen.
const hostname = "::"; // both families
host.serve({
  port: 7,
  hostname,
  data(connection, bytes) {
    const seen = Number(connection.attachment ?? 0) + bytes.length;
    connection.attachment = seen;
    connection.write(bytes);
  },
});
// UDP port 7: echo.
void echoDatagrams(host.listenDatagram({ port: 7, hostname }));
// Port 80: enough HTTP/1.1 for curl.
void serveHttp(host.listen({ port: 80, hostname }));
// Port 5201: the stock iperf3 client.
void serveIperf3(host.listen({ port: 5201, hostname }));

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  if (line.startsWith("frame ")) {
    const bytes = Uint8Array.from(Buffer.from(line.slice(6), "hex"));
    host.stack.receive(0, new Slab(bytes), 0, bytes.length, host.clock.nowMs());
    host.kick();
    return;
  }
  const { queryObjects } = v8 as unknown as { queryObjects?: (of: unknown, options: unknown) => number };
  const tcbs = queryObjects?.(Tcb, { format: "count" });
  console.log(JSON.stringify({
    ...host.counts,
    tcbs: tcbs === undefined ? undefined : tcbs - host.stack.tcp.left, // but for those of nobody
    drops: host.stack.drops,
    own: host.stack.output.routes.ipv6.own.map((each) => host.stack.addresses.format(each.address)),
    link: link.counters,
    suspends: host.sleeper.stats.suspends,
    restores: host.sleeper.stats.restores,
  }));
});
lines.on("close", () => process.exit(0));
console.log(JSON.stringify({ ready: true, ...host.counts }));

async function echoDatagrams(socket: DatagramConn): Promise<void> {
  for await (const [bytes, from] of socket) await socket.send(bytes, from);
}

async function serveHttp(listener: AsyncIterable<TcpConn>): Promise<void> {
  for await (const conn of listener) {
    answer(conn).catch((error) => console.error("HTTP failed:", error.message));
  }
}

async function answer(conn: TcpConn): Promise<void> {
  const block = new Uint8Array(256 * 1024);
  let held = new Uint8Array(0);
  const more = async (): Promise<boolean> => {
    const count = await conn.read(block);
    if (count === null) return false;
    const joined = new Uint8Array(held.length + count);
    joined.set(held);
    joined.set(block.subarray(0, count), held.length);
    held = joined;
    return true;
  };
  let text = "";
  let end = -1;
  while (end < 0) {
    if (!await more()) return conn.close();
    text = new TextDecoder("latin1").decode(held);
    end = text.indexOf("\r\n\r\n");
  }
  const [method, path] = text.split(" ");
  const reply = async (body: string): Promise<void> => {
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
    await writeAll(conn, new TextEncoder().encode(head + body));
  };
  if (method === "PUT") {
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
    if (/expect: 100-continue/i.test(text)) {
      await writeAll(conn, new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    const hash = createHash("sha256").update(held.subarray(end + 4));
    let got = held.length - end - 4;
    while (got < length) {
      const count = await conn.read(block);
      if (count === null) throw new Error(`The upload ended after ${got} of ${length} bytes`);
      hash.update(block.subarray(0, count));
      got += count;
    }
    await reply(hash.digest("hex"));
  } else if (path?.startsWith("/bytes/")) {
    const length = Number(path.slice(7));
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n`;
    await writeAll(conn, new TextEncoder().encode(head));
    for (const piece of pattern(length)) await writeAll(conn, piece);
  } else {
    await reply("Hello from userspace\n");
  }
  conn.close();
}
