import { once } from "node:events";
import { copied, Copies } from "../base/copies.ts";
import { pipe } from "../net/link/pipe.ts";
import { Host } from "../net/socket/host.ts";
import { connectNode, nodeServer } from "../net/socket/stack_socket.ts";
import type { TcpConn } from "../net/socket/types.ts";
import {
  type Bench,
  type BenchOptions,
  type Cell,
  interleave,
  roundsFor,
  spreadTable,
  type Table,
} from "./bench.ts";
import { BareStacks } from "./packets/bare_stacks.ts";

const ROUND_MS = 500;
const ROUND_MS_QUICK = 40;
const CHUNK = new Uint8Array(256 * 1024);
const HANDLERS = 1, DENO = 2, STREAMS = 3, NODE = 4;

/** Bulk by each of the ways that an application has, beside the stack alone. */
export const bench: Bench = {
  async *run(options) {
    yield await throughPipe(options, false);
    yield await throughPipe(options, true);
    yield await copiesTable(options);
  },
};

async function throughPipe(options: BenchOptions, offloads: boolean): Promise<Table> {
  const roundMs = options.quick ? ROUND_MS_QUICK : ROUND_MS;
  using world = new World(offloads);
  const bare = new BareStacks(64, { timeWaitMs: 1 });
  const results = await interleave({
    ...(offloads ? {} : {
      "bare stacks": () => {
        const { count, elapsedMs } = bare.run("bulk", roundMs);
        return count / elapsedMs / 1000;
      },
    }),
    "Deno's write -> handlers": () => world.bulk(HANDLERS, roundMs, written),
    "Deno's write -> Deno's read": () => world.bulk(DENO, roundMs, written),
    "web stream -> BYOB reader": () => world.bulk(STREAMS, roundMs, streamed),
    "node Duplex -> node Duplex": () => world.duplex(roundMs),
  }, roundsFor(options));
  return spreadTable(
    `bulk through a pipe ${offloads ? "with offloads" : "of 1,500 bytes with checksums"}`,
    "MB/s",
    results,
    ["Both ends in one process and thread; buffers of 256 KB."],
  );
}

/** How often a byte is copied on each way (base/copies.ts). */
async function copiesTable(options: BenchOptions): Promise<Table> {
  const roundMs = options.quick ? ROUND_MS_QUICK : ROUND_MS;
  const rows: Cell[][] = [];
  for (const offloads of [false, true]) {
    using world = new World(offloads);
    const ways: Record<string, () => Promise<number>> = {
      "Deno's write -> handlers": () => world.bulk(HANDLERS, roundMs, written),
      "Deno's write -> Deno's read": () => world.bulk(DENO, roundMs, written),
      "web stream -> BYOB reader": () => world.bulk(STREAMS, roundMs, streamed),
      "node Duplex -> node Duplex": () => world.duplex(roundMs),
    };
    for (const [name, run] of Object.entries(ways)) {
      const before = copied.slice();
      await run();
      const each = [Copies.out, Copies.in, Copies.rings].map((way) =>
        (copied[way]! - before[way]!) / world.received
      );
      rows.push([`${name}, ${offloads ? "with offloads" : "1,500 bytes"}`, ...each]);
    }
  }
  return {
    title: "how often a byte is copied",
    columns: ["", "out", "in", "by growing rings"],
    rows,
    notes: ["Between the application's memory and what the link sends from, or has read into."],
  };
}

type Write = (conn: TcpConn, untilMs: number) => Promise<void>;

async function written(conn: TcpConn, untilMs: number): Promise<void> {
  do await conn.write(CHUNK); while (performance.now() < untilMs);
  await conn.closeWrite();
}

async function streamed(conn: TcpConn, untilMs: number): Promise<void> {
  const writer = conn.writable.getWriter();
  do {
    await writer.ready;
    void writer.write(CHUNK);
  } while (performance.now() < untilMs);
  await writer.close();
}

/** Two hosts; the server counts what comes, on a port for each way of reading. */
class World implements Disposable {
  readonly #client: Host;
  readonly #server: Host;
  /** Bytes of the round at hand. */
  get received(): number {
    return this.#received;
  }
  #received = 0;
  #ended: () => void = () => {};

  constructor(offloads: boolean) {
    const links = pipe({ medium: "ip", offloads });
    const host = (side: 0 | 1): Host =>
      new Host({
        interfaces: [{ link: links[side] }],
        addresses: [{ address: `10.0.0.${side + 1}/24` }],
        tcp: { timeWaitMs: 1 },
      });
    this.#server = host(0);
    this.#client = host(1);
    this.#server.serve({
      port: HANDLERS,
      data: (_, bytes) => void (this.#received += bytes.length),
      end: (connection) => {
        connection.end();
        this.#ended();
      },
    });
    void this.#serve(DENO, (conn) => this.#read(conn));
    void this.#serve(STREAMS, (conn) => this.#readStream(conn));
    nodeServer(this.#server.listen({ port: NODE }), (socket) => {
      socket.on("data", (bytes: Uint8Array) => void (this.#received += bytes.length));
      socket.on("end", () => this.#ended());
    });
  }

  /** Megabytes per second until all has been read. */
  async bulk(port: number, roundMs: number, write: Write): Promise<number> {
    const ended = this.#begin();
    using conn = await this.#client.connect({ hostname: "10.0.0.1", port });
    const startMs = performance.now();
    await write(conn, startMs + roundMs);
    await ended;
    return this.#received / (performance.now() - startMs) / 1000;
  }

  async duplex(roundMs: number): Promise<number> {
    const ended = this.#begin();
    const socket = connectNode(this.#client, { host: "10.0.0.1", port: NODE });
    await once(socket, "connect");
    const startMs = performance.now();
    do {
      if (!socket.write(CHUNK)) await once(socket, "drain");
    } while (performance.now() < startMs + roundMs);
    socket.end();
    socket.resume();
    await ended;
    return this.#received / (performance.now() - startMs) / 1000;
  }

  #begin(): Promise<void> {
    this.#received = 0;
    return new Promise((resolve) => void (this.#ended = resolve));
  }

  async #serve(port: number, read: (conn: TcpConn) => Promise<void>): Promise<void> {
    for await (const conn of this.#server.listen({ port })) void read(conn).then(() => this.#ended());
  }

  async #read(conn: TcpConn): Promise<void> {
    const into = new Uint8Array(CHUNK.length);
    for (let count; (count = await conn.read(into)) !== null;) this.#received += count;
    conn.close();
  }

  async #readStream(conn: TcpConn): Promise<void> {
    const reader = conn.readable.getReader({ mode: "byob" });
    for (let into = new Uint8Array(CHUNK.length);;) {
      const { value, done } = await reader.read(into);
      if (done) break;
      this.#received += value.length;
      into = new Uint8Array(value.buffer);
    }
  }

  [Symbol.dispose](): void {
    this.#client.close();
    this.#server.close();
  }
}
