/**
 * An echo server, written against the Deno API: `listen`, async iteration, web streams, `using`.
 *
 * Run it with `npx tsx examples/echo_server.ts`, `deno run -A` or `bun`. It brings its own network: two
 * hosts on the ends of a pipe in memory. Give it a TUN or unix link instead, and the world can connect.
 */
import assert from "node:assert/strict";
import { Host, pipe, Prng, type TcpConn, type TcpListener } from "../mod.ts";

const [serverLink, clientLink] = pipe();
using server = new Host({ interfaces: [{ link: serverLink }], addresses: [{ address: "10.0.0.1/24" }] });
using client = new Host({ interfaces: [{ link: clientLink }], addresses: [{ address: "10.0.0.2/24" }] });

/** The whole server. */
async function serveEcho(listener: TcpListener): Promise<number> {
  let served = 0;
  for await (const conn of listener) {
    served++;
    conn.readable.pipeTo(conn.writable).catch((error) => console.error(`Echo failed: ${error}`));
  }
  return served;
}

/** Says `bytes` while it listens for the answer, to the end. */
async function converse(conn: TcpConn, bytes: Uint8Array): Promise<Uint8Array> {
  const say = async (): Promise<void> => {
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    await conn.closeWrite();
  };
  const hear = async (): Promise<Uint8Array> =>
    new Uint8Array(await new Response(conn.readable).arrayBuffer());
  const [heard] = await Promise.all([hear(), say()]);
  return heard;
}

const listener = server.listen({ port: 7 });
const serving = serveEcho(listener);

const prng = new Prng(1);
const startedMs = performance.now();
const sizes = [1, 1_460, 100_000, 4_000_000];
await Promise.all(sizes.map(async (size) => {
  const conn = await client.connect({ hostname: "10.0.0.1", port: 7, signal: AbortSignal.timeout(5_000) });
  const bytes = new Uint8Array(size);
  prng.fill(bytes);
  const heard = await converse(conn, bytes);
  assert.ok(heard.length === size && heard.every((byte, at) => byte === bytes[at]), `${size} bytes differ`);
  console.log(`${String(size).padStart(9)} bytes came back unchanged on port ${conn.localAddr.port}`);
}));
const elapsedMs = performance.now() - startedMs;

await assert.rejects(client.connect({ hostname: "10.0.0.1", port: 8 }), { name: "ConnectionRefused" });
console.log("Nobody listens on port 8: connection refused");

listener.close();
assert.equal(await serving, sizes.length);
console.log(`Echoed on ${sizes.length} connections in ${elapsedMs.toFixed(0)} ms`);
