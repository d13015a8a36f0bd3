import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { Hook } from "../../net/firewall/conntrack/state.ts";
import { NftPacket } from "../../net/firewall/nft/packet.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { Stack } from "../../net/stack.ts";
import { checksumOf, foldSum, pseudoSum, sumWords } from "../../net/wire/checksum.ts";

const LAN = 0, WAN = 1;

/** A router whose way to 10.2.0.0/16 takes packets of 1,400 bytes. */
function router(rules: string): { left: Uint8Array[]; stack: Stack } {
  const left: Uint8Array[] = [];
  const stack = new Stack({ nowMs: 1_000, entropy: new Prng(1), forwarding: true });
  for (const [name, mtu] of [["lan", 1_500], ["wan", 1_400]] as const) {
    stack.addInterface({
      name,
      link: {
        medium: "ip",
        mtu,
        send: ({ bytes }, start, end) => left.push(bytes.slice(start, end)) > 0,
        flush: () => {},
      },
    });
  }
  stack.setRoutes({
    addresses: [{ address: "10.1.0.1/16", interface: LAN }],
    routes: [{ destination: "10.2.0.0/16", interface: WAN }],
  });
  stack.setRules(readTextRules(rules));
  return { left, stack };
}

/** A SYN from 10.1.0.2 to 10.2.0.9 with this maximum segment size. */
function syn(mss: number, ttl = 64): Slab {
  const slab = Slab.of(44);
  const { bytes, view } = slab;
  bytes.set([0x45, 0, 0, 44, 0, 7, 0x40, 0, ttl, 6, 0, 0, 10, 1, 0, 2, 10, 2, 0, 9]);
  bytes.set(
    [0x13, 0x88, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, mss >> 8, mss],
    20,
  );
  view.setUint16(10, checksumOf(slab, 0, 20));
  view.setUint16(36, ~foldSum(sumWords(slab, 20, 44, pseudoSum(0x0a01_0002, 0x0a02_0009, 6, 24))) & 0xffff);
  return slab;
}

function expectWhole(packet: Uint8Array): DataView {
  const slab = new Slab(packet.slice());
  expect(checksumOf(slab, 0, 20)).toBe(0);
  expect(~foldSum(sumWords(slab, 20, 44, pseudoSum(0x0a01_0002, 0x0a02_0009, 6, 24))) & 0xffff).toBe(0);
  return slab.view;
}

test("rules make a maximum segment size fit the way, and never larger", () => {
  const { left, stack } = router(`table inet t { chain c { type filter hook forward priority 0;
    tcp flags syn tcp option maxseg size set rt mtu; } }`);
  for (const mss of [1_460, 1_360, 500]) stack.receive(LAN, syn(mss), 0, 44, 1_000);
  expect(left.map((packet) => expectWhole(packet).getUint16(42))).toEqual([1_360, 1_360, 500]);
});

test("what rules write before routing is what routing sees, and what they write last is what leaves", () => {
  const { left, stack } = router(`table ip t {
    chain early { type filter hook prerouting priority 0; ip ttl set 2; ip dscp set cs1; ip ecn set ce; }
    chain late { type filter hook postrouting priority 0; ip dscp cs1 counter ip dscp set ef; }
    chain c { type filter hook forward priority 0; ip ttl 1 ip ttl set 255; }
  }`);
  stack.receive(LAN, syn(1_460, 1), 0, 44, 1_000); // would go no further
  const [packet] = left.map(expectWhole);
  expect(packet!.getUint8(8)).toBe(255);
  expect(packet!.getUint8(1)).toBe((46 << 2) | 3);
  expect(JSON.stringify(stack.hooks.rules!.list(1_000))).toContain('"packets":1');
});

test("explain() writes to no packet", () => {
  const { stack } = router(
    "table ip t { chain c { type filter hook forward priority 0; ip ttl set 9 accept; } }",
  );
  const slab = syn(1_460);
  const before = slab.bytes.slice();
  const packet = new NftPacket();
  packet.moveTo(slab, 0, 44, 1_000);
  expect(stack.hooks.rules!.explain(packet, Hook.forward).steps[0]!.matched).toBe(true);
  expect(slab.bytes).toEqual(before);
});
