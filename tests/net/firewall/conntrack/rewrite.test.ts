import { expect, test } from "vitest";
import { Prng } from "../../../../base/random.ts";
import { Slab } from "../../../../base/slab.ts";
import { updateChecksum } from "../../../../net/firewall/nat/rewrite.ts";
import { checksumOf, foldSum, sumWords } from "../../../../net/wire/checksum.ts";
import { drawSeed } from "../../../support/seed.ts";
import { HOSTS4, HOSTS6, NETWORKS, RULES } from "./nat_rules.ts";
import { type Sided, TestRouter } from "./test_router.ts";
import { TrafficWorld } from "./traffic_world.ts";

test("a checksum that is brought up to date is the one that is computed anew (RFC 1624)", () => {
  const prng = new Prng(7);
  const slab = Slab.of(40);
  const { view } = slab;
  for (let round = 0; round < 6_000; round++) {
    prng.fill(slab.bytes);
    // Words that add up to nothing are where an older equation fails.
    if (prng.below(3) === 0) slab.bytes.fill(prng.below(2) ? 0xff : 0, 0, 2 * prng.below(20));
    slab.bytes[39] = 1; // no packet is all zeros
    view.setUint16(0, 0);
    const before = checksumOf(slab, 0, 40);
    const at = 2 + 2 * prng.below(15);
    const old = foldSum(sumWords(slab, at, at + 4, 0));
    view.setUint32(at, prng.pick([0, 0xffff_ffff, 0xffff, prng.below(2 ** 32)]));
    const now = foldSum(sumWords(slab, at, at + 4, 0));
    expect(updateChecksum(before, old, now), `round ${round}`).toBe(checksumOf(slab, 0, 40));
  }
});

/** Whether every checksum in the packet holds, read from the beginning. */
function isSound({ bytes }: Sided): boolean {
  const slab = new Slab(new Uint8Array(bytes));
  const ipv6 = bytes[0]! >>> 4 === 6;
  const start = ipv6 ? 40 : 20;
  if (!ipv6 && checksumOf(slab, 0, 20) !== 0) return false;
  const protocol = bytes[ipv6 ? 6 : 9]!;
  const length = bytes.length - start;
  if (protocol === 253 || length < 8) return true;
  if (protocol === 17 && slab.view.getUint16(start + 6) === 0) return !ipv6;
  const pseudo = protocol === 1 ? 0 : sumWords(slab, ipv6 ? 8 : 12, start, protocol + length);
  return foldSum(sumWords(slab, start, bytes.length, pseudo)) === 0xffff;
}

test("what NAT has rewritten is as sound as it came: every checksum, computed anew", () => {
  const seed = drawSeed("REWRITE_SEED", 2 ** 31);
  let rewritten = 0;
  for (const [number, rules] of RULES.entries()) {
    for (const hosts of [HOSTS4, HOSTS6]) {
      const router = new TestRouter(seed, 0, NETWORKS, rules.ask);
      const targets = [0, 1].map((side) => [
        ...hosts.filter((host) => host.side !== side),
        { side, address: NETWORKS[side]![hosts === HOSTS4 ? 0 : 1]! },
      ]);
      const world = new TrafficWorld(new Prng(seed + number), router, hosts, targets);
      for (let step = 0; step < 700; step++) {
        const said = world.say();
        const made = router.input(said);
        world.heard(made);
        if (made === undefined || !isSound(said)) continue;
        const header = hosts === HOSTS4 ? 20 : 40;
        if (
          made.bytes.subarray(header - 8, header).some((byte, at) => byte !== said.bytes[header - 8 + at])
        ) {
          rewritten++;
        }
        expect(isSound(made), `seed ${seed}, ${rules.name}, step ${step}`).toBe(true);
      }
    }
  }
  expect(rewritten).toBeGreaterThan(500);
});
