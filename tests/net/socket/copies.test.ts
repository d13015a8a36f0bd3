import { once } from "node:events";
import { expect, test } from "vitest";
import { copied, Copies } from "../../../base/copies.ts";
import { readTextRules } from "../../../net/firewall/nft/text/read.ts";
import type { PipeOptions } from "../../../net/link/pipe.ts";
import type { Host } from "../../../net/socket/host.ts";
import { connectNode, nodeServer } from "../../../net/socket/stack_socket.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import { realPair, SERVER } from "./world.ts";

/**
 * How often a byte is copied between an application's memory and what a link sends from, or has read into: the table of
 * docs/performance.md, row by row. One connection, both ends in this process; what the pipe copies is not counted.
 */
const BYTES = 4 << 20;
const CHUNK = new Uint8Array(256 * 1024).map((_, at) => at * 7);
/** Of a byte: what comes before somebody waits, and segments that are no full ones. */
const FEW = 0.1;
/** The packet memory has room for all of these tests, whose hosts give back what they have when they are collected. */
const TCP = { sendBufferMax: 256 << 10, receiveBufferMax: 256 << 10 };
const TRAINS = { offloads: true };

type Write = (client: Host, bytes: number) => Promise<void>;
type Read = (server: Host, bytes: number) => Promise<void>;

const connect = (client: Host): Promise<TcpConn> => client.connect({ hostname: SERVER, port: 80 });

const written: Write = async (client, bytes) => {
  const conn = await connect(client);
  for (let at = 0; at < bytes;) at += await conn.write(CHUNK.subarray(0, bytes - at));
};

const streamed: Write = async (client, bytes) => {
  const writer = (await connect(client)).writable.getWriter();
  for (let at = 0; at < bytes; at += CHUNK.length) await writer.write(CHUNK);
};

const throughNode: Write = async (client, bytes) => {
  const socket = connectNode(client, { host: SERVER, port: 80 });
  for (let at = 0; at < bytes; at += CHUNK.length) {
    if (!socket.write(CHUNK)) await once(socket, "drain");
  }
};

const handled: Read = (server, bytes) =>
  new Promise((resolve) => {
    server.serve({
      port: 80,
      data: (_, part) => {
        bytes -= part.length;
        if (bytes === 0) resolve();
      },
    });
  });

const readByDeno: Read = async (server, bytes) => {
  const conn = await server.listen({ port: 80 }).accept();
  for (const into = new Uint8Array(CHUNK.length); bytes > 0;) bytes -= (await conn.read(into))!;
};

const readByob: Read = async (server, bytes) => {
  const conn = await server.listen({ port: 80 }).accept();
  const reader = conn.readable.getReader({ mode: "byob" });
  for (let into = new Uint8Array(CHUNK.length); bytes > 0;) {
    const { value } = await reader.read(into);
    bytes -= value!.length;
    into = new Uint8Array(value!.buffer);
  }
};

const readByNode: Read = (server, bytes) =>
  new Promise((resolve) => {
    nodeServer(server.listen({ port: 80 }), (socket) => {
      socket.on("data", (part: Uint8Array) => {
        bytes -= part.length;
        if (bytes === 0) resolve();
      });
    });
  });

const RULES = `table inet t {
chain o {
type filter hook output priority 0; policy accept;
tcp dport 81 drop
}
}
`;

interface World {
  readonly pipe?: PipeOptions;
  readonly bytes?: number;
  readonly prepare?: (client: Host, server: Host) => void;
}

/** How often each of so many bytes is copied. */
async function copies(write: Write, read: Read, { pipe, bytes = BYTES, prepare }: World) {
  const { client, server } = realPair({ tcp: TCP }, { tcp: TCP }, { medium: "ip", ...pipe });
  prepare?.(client, server);
  const before = copied.slice();
  await Promise.all([read(server, bytes), write(client, bytes)]);
  return {
    out: (copied[Copies.out]! - before[Copies.out]!) / bytes,
    in: (copied[Copies.in]! - before[Copies.in]!) / bytes,
  };
}

/** A link that somebody watches takes packets in one piece. */
const watched = (client: Host): void => void client.watchPackets({ arrived() {}, judged() {}, left() {} });

const WAYS: readonly [way: string, write: Write, read: Read, world: World, out: number, into: number][] = [
  ["trains, from Deno's write to handlers", written, handled, { pipe: TRAINS }, 1, 1],
  ["trains, from Deno's write to Deno's read", written, readByDeno, { pipe: TRAINS }, 1, 1],
  ["trains, from a web stream to a BYOB reader", streamed, readByob, { pipe: TRAINS }, 1, 1],
  ["trains, from a node Duplex to another", throughNode, readByNode, { pipe: TRAINS }, 1, 1],
  ["segments with checksums, put together on their way in", written, handled, {}, 1, 2],
  ["segments on an Ethernet", written, handled, { pipe: { medium: "ethernet" } }, 1, 2],
  ["somebody watches what is sent", written, handled, { prepare: watched }, 2, 2],
  [
    "nftables rules look at what is sent",
    written,
    handled,
    { pipe: TRAINS, prepare: (client) => client.setRules(readTextRules(RULES)) },
    2,
    1,
  ],
];

for (const [way, write, read, world, out, into] of WAYS) {
  test(`copies of a byte, out ${out} and in ${into}: ${way}`, async () => {
    const found = await copies(write, read, world);
    expect(found.out).toBeGreaterThanOrEqual(out - FEW);
    expect(found.out).toBeLessThan(out + FEW);
    expect(found.in).toBeGreaterThanOrEqual(into - FEW);
    expect(found.in).toBeLessThan(into + FEW);
  });
}

test("copies of a byte: of small messages two on their way in, and of the smallest two on their way out", async () => {
  for (const [length, out, into] of [[40, 2, 2], [200, 2, 2], [1_000, 1, 2]] as const) {
    const { client, server } = realPair({}, {}, { medium: "ip" });
    server.serve({ port: 80, data: (connection) => void connection.write(Uint8Array.of(1)) });
    const conn = await connect(client);
    conn.setNoDelay();
    const answer = new Uint8Array(1);
    const roundTrip = async (): Promise<void> => {
      await conn.write(CHUNK.subarray(0, length));
      expect(await conn.read(answer)).toBe(1);
    };
    await roundTrip(); // the first comes with the handshake's end
    const before = copied.slice();
    for (let each = 0; each < 20; each++) await roundTrip();
    const answers = 2; // of each byte: into the ring and out of it
    expect(copied[Copies.out]! - before[Copies.out]!).toBe(20 * (out * length + answers));
    expect(copied[Copies.in]! - before[Copies.in]!).toBe(20 * (into * length + answers));
  }
});

test("copies of a byte: twice on its way in where nobody waits for it", async () => {
  const bytes = 40_000;
  const late: Read = async (server, count) => {
    const conn = await server.listen({ port: 80 }).accept();
    await new Promise((resolve) => setTimeout(resolve, 50));
    await conn.read(new Uint8Array(count));
  };
  expect(await copies(written, late, { pipe: TRAINS, bytes })).toEqual({ out: 1, in: 2 });
});
