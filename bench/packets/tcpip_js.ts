import { assert } from "../../base/assert.ts";
import { CHUNK_BYTES, type Done, PORT, type Subject, type Work } from "./subject.ts";

/** What is used of the package `tcpip` (tcpip.js: lwIP in WebAssembly). */
interface Connection {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  close(): Promise<void>;
}
interface TunInterface {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}
interface NetworkStack {
  createTunInterface(options: { ip: string }): Promise<TunInterface>;
  listenTcp(options: { port: number }): Promise<AsyncIterable<Connection>>;
  connectTcp(options: { host: string; port: number }): Promise<Connection>;
}

const PACKAGE = "tcpip";
let why = "";

/** Two of its stacks with their TUN interfaces joined, in this process. */
export class TcpipJs implements Subject {
  readonly #client: NetworkStack;
  #received = 0;

  private constructor(client: NetworkStack) {
    this.#client = client;
  }

  /** `undefined` where the package is not installed, or is another than this was written for. */
  static async load(): Promise<TcpipJs | undefined> {
    try {
      const { createStack } = await import(PACKAGE) as { createStack(): Promise<NetworkStack> };
      const [server, client] = [await createStack(), await createStack()];
      const [left, right] = [
        await server.createTunInterface({ ip: "10.0.0.1/24" }),
        await client.createTunInterface({ ip: "10.0.0.2/24" }),
      ];
      void left.readable.pipeTo(right.writable).catch(() => {});
      void right.readable.pipeTo(left.writable).catch(() => {});
      const subject = new TcpipJs(client);
      for (const [name, port] of Object.entries(PORT)) {
        if (name !== "datagrams") void subject.#serve(await server.listenTcp({ port }), port);
      }
      return subject;
    } catch (error) {
      why = (error as Error).message.split("\n")[0]!;
      return undefined;
    }
  }

  /** Why it is not in the table. */
  static notes(): string[] {
    return why === "" ? [] : [`tcpip.js is not measured: ${why}`];
  }

  async run(work: Work, roundMs: number): Promise<Done | undefined> {
    if (work === "datagrams") return undefined;
    const startMs = performance.now();
    const count = await this[work](startMs + roundMs);
    return { count, packets: NaN, elapsedMs: performance.now() - startMs };
  }

  close(): void {}

  async bulk(untilMs: number): Promise<number> {
    this.#received = 0;
    const connection = await this.#client.connectTcp({ host: "10.0.0.1", port: PORT.discard });
    const writer = connection.writable.getWriter();
    let sent = 0;
    do {
      await writer.write(new Uint8Array(CHUNK_BYTES));
      sent += CHUNK_BYTES;
    } while (performance.now() < untilMs);
    while (this.#received < sent) await new Promise((resolve) => setTimeout(resolve, 0));
    await connection.close().catch(() => {});
    return sent;
  }

  async roundTrips(untilMs: number): Promise<number> {
    const connection = await this.#client.connectTcp({ host: "10.0.0.1", port: PORT.echo });
    const writer = connection.writable.getWriter(), reader = connection.readable.getReader();
    let count = 0;
    do {
      await writer.write(Uint8Array.of(7));
      assert((await reader.read()).value?.length === 1, "One byte comes back");
      count++;
    } while (performance.now() < untilMs);
    await connection.close().catch(() => {});
    return count;
  }

  async connections(untilMs: number): Promise<number> {
    let count = 0;
    do {
      const connection = await this.#client.connectTcp({ host: "10.0.0.1", port: PORT.once });
      const writer = connection.writable.getWriter(), reader = connection.readable.getReader();
      await writer.write(Uint8Array.of(7));
      assert((await reader.read()).value?.length === 1, "One byte comes back");
      await connection.close().catch(() => {});
      count++;
    } while (performance.now() < untilMs);
    return count;
  }

  async #serve(listener: AsyncIterable<Connection>, port: number): Promise<void> {
    for await (const connection of listener) void this.#answer(connection, port).catch(() => {});
  }

  async #answer(connection: Connection, port: number): Promise<void> {
    const writer = connection.writable.getWriter();
    for (const reader = connection.readable.getReader();;) {
      const { value, done } = await reader.read();
      if (done) break;
      if (port === PORT.discard) this.#received += value.length;
      else await writer.write(value);
      if (port === PORT.once) break;
    }
    await connection.close();
  }
}
