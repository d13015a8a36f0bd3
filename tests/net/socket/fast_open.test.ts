import { expect, test } from "vitest";
import { streamBytes } from "../tcp/script.ts";
import { Pair } from "../stack/pair.ts";

/** Reads until `count` bytes are there. */
async function readAll(
  conn: { read(p: Uint8Array): Promise<number | null> },
  count: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const got = await conn.read(bytes.subarray(at));
    if (got === null) break;
    at += got;
  }
  return bytes;
}

test("the second connection to a server brings its first data with the SYN, and is answered a round trip sooner (RFC 7413)", async () => {
  const pair = new Pair({ seed: 7, delayMs: 50 });
  const [client, server] = pair.hosts;
  const listener = server.listen({ port: 80, fastOpen: 10 });
  const visit = async (request: Uint8Array): Promise<number> => {
    const startMs = pair.clock.nowMs();
    const served = listener.accept().then(async (conn) => {
      const got = await readAll(conn, request.length);
      expect(got).toEqual(request);
      await conn.write(Uint8Array.of(1, 2, 3));
      conn.close();
    });
    const conn = await client.connect({ hostname: "10.0.0.2", port: 80, fastOpen: request });
    expect(await readAll(conn, 3)).toEqual(Uint8Array.of(1, 2, 3));
    await served;
    conn.close();
    return pair.clock.nowMs() - startMs;
  };
  const tookMs = await pair.finish((async () => {
    const took: number[] = [];
    // The last two do not fit into a SYN: what is left follows when the connection is there.
    for (const length of [500, 500, 0, 1_420, 1_421, 100_000]) took.push(await visit(streamBytes(1, length)));
    return took;
  })());
  expect(tookMs[1]! * 2).toBeLessThanOrEqual(tookMs[0]! + 2);
  expect(client.stack.tcp.counters).toMatchObject({ fastOpenActive: 4, fastOpenActiveFail: 0 });
  expect(server.stack.tcp.counters).toMatchObject({ fastOpenPassive: 5, fastOpenCookieReqd: 1 });
});

test("first data arrives once and whole, whatever the link does to SYNs (RFC 7413)", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const pair = new Pair({ seed, loss: 0.3, duplicate: 0.1, reorder: 0.2 });
    const [client, server] = pair.hosts;
    const listener = server.listen({ port: 80, fastOpen: 100 });
    await pair.finish((async () => {
      for (let round = 0; round < 8; round++) {
        const bytes = streamBytes(1, 1_000);
        const served = listener.accept().then(async (conn) => {
          const got = await readAll(conn, 1_001); // one more than comes: the end
          expect(got.subarray(0, 1_000)).toEqual(bytes);
          conn.close();
        });
        const conn = await client.connect({ hostname: "10.0.0.2", port: 80, fastOpen: bytes });
        await conn.closeWrite();
        expect(await conn.read(new Uint8Array(1))).toBeNull();
        await served;
        conn.close();
      }
    })());
  }
});

test("fastOpen is a count", () => {
  const [host] = new Pair({ seed: 1 }).hosts;
  for (const fastOpen of [-1, 0.5, NaN]) {
    expect(() => host.listen({ port: 80, fastOpen })).toThrow(RangeError);
  }
});
