import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { Hook } from "../../net/firewall/conntrack/state.ts";
import { NftCompiled } from "../../net/firewall/nft/compiled.ts";
import { linkRules } from "../../net/firewall/nft/link.ts";
import { NftPacket } from "../../net/firewall/nft/packet.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { NftWalk } from "../../net/firewall/nft/walk.ts";
import { Ipv4Record, readIpv4 } from "../../net/wire/ipv4.ts";
import { checksumOf } from "../../net/wire/checksum.ts";
import { drawSeed } from "../support/seed.ts";

const SEED = drawSeed("FIREWALL_SEED", 1_000_000);
const INTERFACES = ["tun0", "eth1", "lo"];

function match(prng: Prng, protocol = "tcp"): string {
  const port = (): number => 1_000 + prng.below(40) * prng.pick([1, 700]);
  const address = (): string => `10.${prng.below(3)}.0.${prng.below(20)}`;
  return prng.pick([
    () => `ip saddr ${address()}`,
    () => `ip daddr ${prng.pick(["", "!= "])}10.${prng.below(3)}.0.0/${prng.pick([16, 28])}`,
    () => `ip saddr { ${address()}, 200.0.0.0/7, 255.255.255.255 }`,
    () => `${protocol} dport ${port()}`,
    () => `${protocol} dport ${prng.pick(["<", ">="])} ${port()}`,
    () => `th sport != { ${port()}, 0-5, 65535 }`,
    () => `iifname ${prng.pick(["", "!= "])}${prng.pick(INTERFACES)}`,
    () => `oifname != "eth1"`,
    () => `meta mark 0`,
    () => `iif "eth1"`,
    () => `meta l4proto ${protocol}`,
    () => `meta nfproto ipv4`,
  ])();
}

function rule(prng: Prng): string {
  const protocol = prng.pick(["tcp", "udp"]);
  const matches = Array.from({ length: prng.below(4) }, () => match(prng, protocol));
  const verdict = prng.pick(["accept", "drop", "jump more", "goto more", "return", "", "", "", "reject"]);
  return [...matches, prng.pick(["counter", "", "counter counter"]), verdict].join(" ").trim() || "counter";
}

function datagram(prng: Prng): Uint8Array<ArrayBuffer> {
  const options = prng.pick([0, 0, 4]);
  const slab = Slab.of(20 + options + prng.pick([0, 1, 3, 8, 8, 20]));
  const { bytes, view } = slab;
  bytes[0] = 0x45 + options / 4;
  bytes.fill(1, 20, 20 + options); // "no operation"
  view.setUint16(2, bytes.length);
  bytes[8] = 64;
  bytes[9] = prng.pick([1, 6, 6, 17, 17, 132]);
  view.setUint32(12, prng.pick([0x0a000000, 0x0a010000, 0xc8000000]) + prng.below(24));
  view.setUint32(16, prng.pick([0x0a000000, 0x0a010000, 0xfffffff0]) + prng.below(16));
  for (let at = 20 + options; at + 2 <= bytes.length; at += 2) {
    view.setUint16(at, prng.pick([0, 65_535, 1_000 + prng.below(40), 1_000 + 700 * prng.below(40)]));
  }
  view.setUint16(10, checksumOf(slab, 0, 20 + options));
  return bytes;
}

test(`what a header says is judged as the packet would be (FIREWALL_SEED=${SEED})`, () => {
  const prng = new Prng(SEED);
  let known = 0;
  for (let run = 0; run < 60; run++) {
    const some = (count: number): string => Array.from({ length: count }, () => rule(prng)).join("\n");
    const text = `table ip first {
      chain c { type filter hook input priority -1; policy ${prng.pick(["accept", "drop"])}; ${
      match(prng)
    } counter accept; }
    }
    table inet t {
      chain more { ${some(prng.below(6)).replace(/(jump|goto) more/g, "return").replace(/reject/g, "drop")} }
      chain c { type filter hook input priority 0; policy ${prng.pick(["accept", "drop"])}
        ${some(prng.below(prng.pick([3, 60])))}
      }
    }`;
    const linked = linkRules(readTextRules(text), INTERFACES);
    const compiled = new NftCompiled(linked, {}, 0);
    const walk = new NftWalk(linked, {}, 0);
    expect(compiled.judgesRecords, text).toBe(true);
    const ip = new Ipv4Record();
    const [one, other] = [new NftPacket(), new NftPacket()];
    for (let at = 0; at < 120; at++) {
      const slab = new Slab(datagram(prng));
      const { length } = slab.bytes;
      expect(readIpv4(slab, 0, length, ip)).toBe(0);
      for (const packet of [one, other]) {
        packet.moveTo(slab, 0, length, at);
        packet.iif = at % 3;
      }
      let verdict = compiled.judgeInput(ip, slab, at % 3);
      if (verdict < 0) verdict = compiled.judge(one, Hook.input);
      else known++;
      expect(verdict, `${text}\npacket ${slab.bytes}`).toBe(walk.judge(other, Hook.input).verdict);
    }
    expect(compiled.save(0), text).toEqual(walk.save(0));
  }
  expect(known).toBeGreaterThan(1_000);
});

test("who asks for more than a header says, or does more than to count, is not judged by it", () => {
  const judges = (rule: string): boolean => {
    const rules = readTextRules(`table inet t {
      set seen { type ipv4_addr; size 9; flags dynamic; }
      chain c { type filter hook input priority 0; ${rule} }
    }`);
    return new NftCompiled(linkRules(rules, INTERFACES), {}, 0).judgesRecords;
  };
  expect(judges("ip saddr 10.0.0.1 udp dport 53 iifname lo counter reject")).toBe(true);
  for (
    const other of [
      "ip ttl 5 drop",
      "ip6 saddr fd01::1 drop",
      "meta length 50 drop",
      "meta pkttype broadcast drop",
      "@nh,0,32 1 drop",
      "tcp checksum 5 drop",
      "limit rate 1/second accept",
      "add @seen { ip saddr }",
      "log",
      "meta nftrace set 1",
      "meta mark set 1",
      "ip saddr . udp dport { 10.0.0.1 . 53 } drop",
    ]
  ) expect(judges(other), other).toBe(false);
});
