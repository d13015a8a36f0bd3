/**
 * A server process that is recorded, for runtimes.test.ts: it answers lines on standard input with its counts, and
 * "stop" with an orderly end.
 *
 *   recorded_server.ts SOCKET STORE_FOLDER RECORDING
 */
import { createInterface } from "node:readline";
import process from "node:process";
import { connectUnix, FileStore, recordTo, SleepyHost, type TcpConn } from "../../../mod.ts";

const [path, folder, recording] = process.argv.slice(2);
const recorder = recordTo(recording!, { about: { test: "runtimes" } });
const host = new SleepyHost({
  interfaces: [{ link: await connectUnix({ path: path! }), mac: "02:00:00:00:00:01" }],
  addresses: [{ address: "10.0.0.1/24" }, { address: "2001:db8::1/64" }],
  firewall: {
    rules: [
      { protocol: "tcp", destinationPort: 9, action: "drop" },
      { protocol: "tcp", destinationPort: 10, action: "reject" },
    ],
  },
  store: await FileStore.open(folder!),
  idleMs: 300,
  recorder,
});
host.sleeper.on("error", (error) => console.error(error));
host.serve({
  port: 7,
  hostname: "::",
  data(connection, bytes) {
    connection.attachment = Number(connection.attachment ?? 0) + bytes.length;
    connection.write(bytes);
  },
});
void echoStreams();
void echoDatagrams();

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  if (line === "stop") {
    await host.shutdown();
    process.exit(0);
  }
  recorder.note(`asked for the counts: ${host.counts.asleep} asleep`);
  console.log(JSON.stringify(host.counts));
});
lines.on("close", () => process.exit(0));
console.log(JSON.stringify(host.counts));

async function echoStreams(): Promise<void> {
  for await (const conn of host.listen({ port: 80, hostname: "::" })) echo(conn).catch(() => {});
}

async function echo(conn: TcpConn): Promise<void> {
  await conn.readable.pipeTo(conn.writable);
}

async function echoDatagrams(): Promise<void> {
  const socket = host.listenDatagram({ port: 53, hostname: "::" });
  for await (const [bytes, from] of socket) await socket.send(bytes, from);
}
