import { expect, test } from "vitest";
import { ringBytesLent } from "../../../base/ring.ts";
import { Prng } from "../../../base/random.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { ADDRESSES, ADDRESSES6, Pair, type PairOptions, receiveStream, sendStream } from "./pair.ts";

/** Both directions at once over one connection, closed in either order. */
async function exchange(
  options: PairOptions,
  bytes: [number, number],
  hostname: string = ADDRESSES[1],
): Promise<Pair> {
  const lentBefore = ringBytesLent();
  const pair = new Pair(options);
  const [client, server] = pair.hosts;
  const prng = new Prng(options.seed);
  const listener = server.listen({ port: 80, hostname: "::" });
  const configured = pair.hosts.map(({ stack }) => stack.addresses.retained);
  const [a, b] = await pair.finish(Promise.all([
    client.connect({ hostname, port: 80 }),
    listener.accept(),
  ]));
  if (prng.chance(0.5)) a.setNoDelay();
  const received = await pair.finish(Promise.all([
    receiveStream(a, prng),
    receiveStream(b, prng),
    sendStream(a, bytes[0], prng),
    sendStream(b, bytes[1], prng),
  ]));
  expect(received.slice(0, 2)).toEqual([bytes[1], bytes[0]]);
  a.close();
  b.close();
  listener.close();
  await pair.end();
  expect(ringBytesLent()).toBe(lentBefore);
  // Nobody holds an address any more but configuration and its groups; neighbours may remember one.
  pair.hosts.forEach(({ stack }, side) => {
    const { neighbors6 } = stack.output.interfaces[0]!;
    const groups = neighbors6 === undefined ? 0 : stack.output.routes.ipv6.own.length;
    expect(stack.addresses.retained).toBe(configured[side]! + groups + (neighbors6?.size ?? 0));
  });
  return pair;
}

const KINDS: [name: string, impairments: Partial<PairOptions>, bytes: number, runs: number][] = [
  ["a clean wire", {}, 2_000_000, 2],
  ["1 % loss", { loss: 0.01, reorder: 0.01, duplicate: 0.01 }, 600_000, 4],
  [
    "5 % loss, reordering, duplicates, bit errors",
    {
      loss: 0.05,
      reorder: 0.05,
      duplicate: 0.05,
      corrupt: 0.05,
      delayMs: 20,
      jitterMs: 10,
    },
    200_000,
    8,
  ],
  ["20 % loss", { loss: 0.2, reorder: 0.2, duplicate: 0.1, corrupt: 0.05 }, 40_000, 16],
  ["a slow line", { rateBytesPerS: 50_000, delayMs: 50 }, 300_000, 2],
];

for (const medium of ["ip", "ethernet"] as const) {
  for (const [name, impairments, bytes, runs] of KINDS) {
    test(`both directions arrive whole over ${name} (${medium})`, async () => {
      for (let seed = 1; seed <= runs; seed++) {
        const options = { seed, medium, ...impairments };
        const pair = await exchange(options, [bytes, Math.floor(bytes / 3)]).catch((error) => {
          throw new Error(`Seed ${seed}`, { cause: error });
        });
        expect(pair.watcher.retractions, `Seed ${seed}`).toBe(0); // SHLD-14
      }
    });
  }
}

for (const medium of ["ip", "ethernet"] as const) {
  for (const [name, impairments, bytes, runs] of KINDS.slice(0, 3)) {
    test(`RFC 8200: both directions arrive whole over IPv6 and ${name} (${medium})`, async () => {
      for (let seed = 1; seed <= runs / 2; seed++) {
        const options = { seed, medium, ...impairments };
        const pair = await exchange(options, [bytes, Math.floor(bytes / 3)], ADDRESSES6[1]).catch((error) => {
          throw new Error(`Seed ${seed}`, { cause: error });
        });
        expect(pair.watcher.segments).toBeGreaterThan(100);
        expect(pair.watcher.retractions, `Seed ${seed}`).toBe(0);
      }
    });
  }
}

test("stacks with different options understand each other, with small buffers and bad wires", async () => {
  const odd: Partial<TcpConfig>[] = [
    { timestamps: false },
    { receiveBufferBytes: 3_000 },
    { receiveBufferBytes: 1_000, receiveWindowScale: 0 },
    { sendBufferBytes: 500 },
    { receiveWindowScale: 14 },
    { receiveBufferBytes: 1_460, receiveWindowScale: 3, timestamps: false },
    { outOfOrderRangesMax: 1 },
    { quickAcks: 0, initialWindowSegments: 1 },
  ];
  for (let seed = 1; seed <= 24; seed++) {
    const prng = new Prng(seed);
    const tcp: [Partial<TcpConfig>, Partial<TcpConfig>] = [
      { ...prng.pick(odd), ...prng.pick(odd) },
      { ...prng.pick(odd), ...prng.pick(odd) },
    ];
    const loss = prng.pick([0, 0.02, 0.1]);
    await exchange({ seed, tcp, loss, reorder: loss, duplicate: loss }, [20_000, 15_000]).catch((error) => {
      throw new Error(`Seed ${seed}, ${JSON.stringify(tcp)}, loss ${loss}`, { cause: error });
    });
  }
});
