import { assert } from "../../base/assert.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import type { Store } from "../../checkpoint/store/store.ts";
import { pipe } from "../../net/link/pipe.ts";
import { BrokenPipe } from "../../net/socket/errors.ts";
import { Host } from "../../net/socket/host.ts";
import type { Connection } from "../../net/socket/connection.ts";
import type { TcpConn } from "../../net/socket/types.ts";

/** Bytes written at a time. */
const CHUNK_BYTES = 64 * 1024;
const PORT = { discard: 9, echo: 7, source: 19, once: 8 } as const;

/** What is measured. */
export type Work = "roundTrips" | "many" | "bulkIn" | "bulkOut" | "connections";

/** A client and a server over a pipe in one process; the server's connections are durable, or ordinary ones. */
export class DurableHosts {
  readonly #client: Host;
  readonly #server: SleepyHost;
  readonly store: Store;
  #received = 0;

  constructor(store: Store, durable: boolean) {
    this.store = store;
    const [near, far] = pipe({ medium: "ip" });
    const tcp = { timeWaitMs: 1 };
    const addresses = (side: number): { address: string }[] => [{ address: `10.0.0.${side}/24` }];
    this.#client = new Host({ interfaces: [{ link: near }], addresses: addresses(2), tcp });
    this.#server = new SleepyHost({
      interfaces: [{ link: far }],
      addresses: addresses(1),
      tcp,
      store,
      idleMs: 1e9,
    });
    this.#server.serve({
      port: PORT.discard,
      durable,
      data: (_, bytes) => void (this.#received += bytes.length),
    });
    this.#server.serve({
      port: PORT.echo,
      durable,
      open: (connection) => connection.setNoDelay(),
      data: (connection, bytes) => void connection.write(bytes),
    });
    const chunk = new Uint8Array(CHUNK_BYTES);
    const pour = (connection: Connection): void => {
      try {
        while (connection.write(chunk)) { /* until it is full */ }
      } catch (error) {
        if (!(error instanceof BrokenPipe)) throw error; // the client has heard enough
      }
    };
    this.#server.serve({
      port: PORT.source,
      durable,
      data: (connection) => pour(connection),
      drain: (connection) => pour(connection),
      end: (connection) => connection.abort(),
    });
    this.#server.serve({
      port: PORT.once,
      durable,
      data: (connection, bytes) => {
        connection.write(bytes);
        connection.end();
      },
    });
  }

  /** @returns Bytes, round trips or connections in a second. */
  async run(work: Work, roundMs: number): Promise<number> {
    const startMs = performance.now();
    const count = await this[work](startMs + roundMs);
    return count / (performance.now() - startMs) * 1000;
  }

  async close(): Promise<void> {
    this.#client.close();
    this.#server.close();
    await this.store.close();
  }

  async roundTrips(untilMs: number): Promise<number> {
    using connection = await this.#connect(PORT.echo);
    const byte = Uint8Array.of(7);
    let count = 0;
    do {
      await connection.write(byte);
      assert(await connection.read(byte) === 1, "One byte comes back");
      count++;
    } while (performance.now() < untilMs);
    return count;
  }

  /** Round trips of many connections at once: they share their syncs. */
  async many(untilMs: number): Promise<number> {
    const counts = await Promise.all(Array.from({ length: 256 }, () => this.roundTrips(untilMs)));
    return counts.reduce((sum, count) => sum + count);
  }

  async bulkIn(untilMs: number): Promise<number> {
    this.#received = 0;
    const connection = await this.#connect(PORT.discard);
    const chunk = new Uint8Array(CHUNK_BYTES);
    let sent = 0;
    do sent += await connection.write(chunk); while (performance.now() < untilMs);
    await connection.closeWrite();
    assert(await connection.read(chunk) === null, "The server closes, too");
    connection.close();
    assert(this.#received === sent, "All of it arrives");
    return sent;
  }

  async bulkOut(untilMs: number): Promise<number> {
    const connection = await this.#connect(PORT.source);
    await connection.write(Uint8Array.of(1));
    const chunk = new Uint8Array(CHUNK_BYTES);
    let heard = 0;
    do heard += await connection.read(chunk) ?? 0; while (performance.now() < untilMs);
    connection.close();
    return heard;
  }

  async connections(untilMs: number): Promise<number> {
    const byte = Uint8Array.of(7);
    let count = 0;
    do {
      const connection = await this.#connect(PORT.once);
      await connection.write(byte);
      assert(await connection.read(byte) === 1, "One byte comes back");
      assert(await connection.read(byte) === null, "Then it ends");
      connection.close();
      count++;
    } while (performance.now() < untilMs);
    return count;
  }

  async #connect(port: number): Promise<TcpConn> {
    const connection = await this.#client.connect({ hostname: "10.0.0.1", port });
    connection.setNoDelay();
    return connection;
  }
}
