import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { assert } from "../../base/assert.ts";
import { CHUNK_BYTES, type Done, type Subject, type Work } from "./subject.ts";

/** The kernel's TCP over loopback through node:net, both ends in this process. */
export class NodeNet implements Subject {
  #received = 0;
  readonly #servers: Record<Work, Server>;

  constructor() {
    this.#servers = {
      bulk: createServer((socket) => socket.on("data", (bytes) => void (this.#received += bytes.length))),
      roundTrips: createServer((socket) => socket.setNoDelay().on("data", (bytes) => socket.write(bytes))),
      connections: createServer((socket) => socket.on("data", (bytes) => socket.end(bytes))),
    };
    for (const server of Object.values(this.#servers)) {
      server.on("connection", (socket) => socket.on("error", () => {}));
    }
  }

  async run(work: Work, roundMs: number): Promise<Done> {
    const server = this.#servers[work];
    if (!server.listening) await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as AddressInfo;
    const startMs = performance.now();
    const count = await this[work](startMs + roundMs, port);
    return { count, packets: NaN, elapsedMs: performance.now() - startMs };
  }

  close(): void {
    for (const server of Object.values(this.#servers)) server.close();
  }

  async bulk(untilMs: number, port: number): Promise<number> {
    this.#received = 0;
    const socket = await open(port);
    const chunk = new Uint8Array(CHUNK_BYTES);
    let sent = 0;
    do {
      sent += chunk.length;
      if (!socket.write(chunk)) await once(socket, "drain");
    } while (performance.now() < untilMs);
    socket.end();
    await once(socket.resume(), "close");
    assert(this.#received === sent, "All of it arrives");
    return sent;
  }

  async roundTrips(untilMs: number, port: number): Promise<number> {
    const socket = (await open(port)).setNoDelay();
    const byte = Uint8Array.of(7);
    let count = 0;
    socket.on("data", () => {
      count++;
      if (performance.now() < untilMs) socket.write(byte);
      else socket.end();
    });
    socket.write(byte);
    await once(socket, "close");
    return count;
  }

  async connections(untilMs: number, port: number): Promise<number> {
    const byte = Uint8Array.of(7);
    let count = 0;
    let bytes = 0;
    do {
      const socket = await open(port);
      socket.on("data", (data) => void (bytes += data.length));
      socket.write(byte);
      await once(socket, "close");
      count++;
    } while (performance.now() < untilMs);
    assert(bytes === count, "One byte comes back over each");
    return count;
  }
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}
