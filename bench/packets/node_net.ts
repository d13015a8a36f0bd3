import { createSocket } from "node:dgram";
import { setImmediate } from "node:timers/promises";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { assert } from "../../base/assert.ts";
import { CHUNK_BYTES, DATAGRAM_BYTES, DATAGRAMS, type Done, type Subject, type Work } from "./subject.ts";

/** Turns of the event loop in which what was sent arrives. */
const TURNS_MAX = 100;

/** The kernel's TCP over loopback through node:net, both ends in this process. */
export class NodeNet implements Subject {
  #received = 0;
  readonly #servers: Record<Exclude<Work, "datagrams">, Server>;

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
    if (work === "datagrams") return await this.#datagrams(roundMs);
    const server = this.#servers[work];
    if (!server.listening) await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as AddressInfo;
    const startMs = performance.now();
    const count = await this[work](startMs + roundMs, port);
    return { count, packets: NaN, elapsedMs: performance.now() - startMs };
  }

  async #datagrams(roundMs: number): Promise<Done> {
    const server = createSocket("udp4"), client = createSocket("udp4");
    let count = 0, sentCount = 0;
    server.on("message", () => void count++);
    await new Promise<void>((resolve) => void server.bind(0, "127.0.0.1", resolve));
    await new Promise<void>((resolve) => void client.connect(server.address().port, "127.0.0.1", resolve));
    const bytes = new Uint8Array(DATAGRAM_BYTES);
    const startMs = performance.now();
    do {
      const sent = Array.from(
        { length: DATAGRAMS },
        () => new Promise((resolve) => void client.send(bytes, resolve)),
      );
      await Promise.all(sent);
      sentCount += DATAGRAMS;
      for (let turn = 0; count < sentCount && turn < TURNS_MAX; turn++) await setImmediate(); // some may be lost
    } while (performance.now() < startMs + roundMs);
    const elapsedMs = performance.now() - startMs;
    client.close();
    server.close();
    return { count, packets: count, elapsedMs };
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
