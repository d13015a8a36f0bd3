import { expect, test } from "vitest";
import { goodput, MSS, RATE_BYTES_PER_S, theory } from "./throughput_world.ts";

/**
 * The least share of what theory expects, by round trip and loss. Theory knows no timeouts: with a window of few
 * segments, which a short path with much loss has, the last of them is often lost, and nothing tells so but time.
 */
const SHARES: readonly [rttMs: number, shares: readonly [loss: number, share: number][]][] = [
  [1, [[0, 0.98], [0.001, 0.98], [0.01, 0.85], [0.03, 0.55], [0.05, 0.4]]],
  [20, [[0, 0.9], [0.001, 0.9], [0.01, 0.8], [0.03, 0.7], [0.05, 0.6]]],
  [100, [[0, 0.6], [0.001, 0.9], [0.01, 0.8], [0.03, 0.6], [0.05, 0.6]]],
];

for (const [rttMs, shares] of SHARES) {
  test(`${rttMs} ms, 100 Mbit/s: what theory expects at 0 to 5% of loss, in virtual time`, async () => {
    for (const [loss, share] of shares) {
      const got: number[] = [];
      const seeds = loss < 0.01 ? [1] : [1, 2, 3]; // the more is lost, the more chance decides
      for (const seed of seeds) got.push(await goodput({ loss, rttMs, seed, seconds: rttMs === 1 ? 1 : 4 }));
      const median = got.sort((a, b) => a - b)[got.length >> 1]!;
      expect(median / theory(loss, rttMs), `${loss * 100}%`).toBeGreaterThan(share);
      expect(median).toBeLessThan(RATE_BYTES_PER_S * MSS / 1500 * 1.01);
    }
  });
}

test("a queue of ten frames is enough to use most of a path of 20 ms", async () => {
  const rate = await goodput({ loss: 0, rttMs: 20, seed: 1, queueFrames: 10, seconds: 5 });
  expect(rate / theory(0, 20)).toBeGreaterThan(0.75);
});

test("New Reno keeps up with CUBIC on a short path, and falls behind on a long one (RFC 9438 section 1)", async () => {
  const share = async (rttMs: number, loss: number): Promise<number> => {
    const path = { rttMs, loss, seed: 1, seconds: 8 };
    const [reno, cubic] = [
      await goodput({ ...path, tcp: { congestionControl: "newreno" } }),
      await goodput({ ...path, tcp: { congestionControl: "cubic" } }),
    ];
    return reno / cubic;
  };
  expect(await share(2, 0.005)).toBeGreaterThan(0.8);
  expect(await share(100, 0.0005)).toBeLessThan(0.8);
});
