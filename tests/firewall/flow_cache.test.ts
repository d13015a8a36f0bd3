import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { CtState, Hook } from "../../net/firewall/conntrack/state.ts";
import { NftCompiled } from "../../net/firewall/nft/compiled.ts";
import { linkRules } from "../../net/firewall/nft/link.ts";
import { NftPacket } from "../../net/firewall/nft/packet.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { NftWalk } from "../../net/firewall/nft/walk.ts";

/** A segment of one flow, whatever else it is. */
function segment(prng: Prng): Uint8Array<ArrayBuffer> {
  const option = prng.chance(0.5) ? [2, 4, 5, 0xb4] : [1, 1, 1, 1];
  const length = 44 + prng.pick([0, 10, 200]);
  const header = [
    0x45,
    prng.pick([0, 0x20, 2]),
    0,
    length,
    0,
    prng.below(2),
    0,
    0,
    prng.pick([5, 64]),
    6,
    0,
    0,
  ];
  const tcp = [
    0x13,
    0x88,
    0,
    80,
    0,
    0,
    0,
    prng.below(2),
    0,
    0,
    0,
    0,
    0x60,
    prng.pick([2, 0x10, 4]),
    4,
    prng.below(2),
  ];
  const bytes = [...header, 10, 1, 0, 2, 10, 1, 0, 1, ...tcp, 0, 0, 0, 0, ...option];
  return Uint8Array.from({ length }, (_, at) => bytes[at] ?? 0x61);
}

/** What may be another thing for the next packet of a flow, or does something that must be done each time. */
const DIFFERING = [
  "meta length > 100 drop",
  "tcp flags syn drop",
  "tcp flags & (syn | ack) == syn drop",
  "tcp sequence 1 drop",
  "tcp window 1025 drop",
  "tcp option maxseg exists drop",
  "tcp option maxseg size 1460 drop",
  "ip ttl 5 drop",
  "ip dscp cs1 drop",
  "ip id 1 drop",
  "ip length < 50 drop",
  "ip saddr . ip ttl { 10.1.0.2 . 5 } drop",
  "ip ttl vmap { 5 : drop, 64 : accept }",
  "ct state new drop",
  "meta mark 1 drop",
  "limit rate 1/minute burst 3 packets drop",
  "quota over 500 bytes drop",
  "numgen inc mod 2 0 drop",
  "numgen inc mod 2 vmap { 0 : drop, 1 : accept }",
  "add @seen { meta mark } drop",
  "meta mark @seen drop",
  "meta mark @counted drop",
  "meta mark set ip id meta mark 1 drop",
  'log prefix "x" counter',
  "jump further",
] as const;

test("what is remembered of a flow is nothing that another of its packets may be", () => {
  for (const rule of DIFFERING) {
    const prng = new Prng(7);
    const linked = linkRules(
      readTextRules(`table ip t {
        set seen { type mark; size 1; flags dynamic; }
        set counted { type mark; counter; elements = { 1 }; }
        chain further { ip ttl 5 drop; }
        chain unused { ${"counter; ".repeat(8)} } # few rules are not worth remembering
        chain c {
          type filter hook input priority 0; policy accept;
          tcp dport 80 counter
          ${rule}
          tcp sport 5000 counter accept
        }
      }`),
      ["tun0"],
    );
    const logged = [0, 0];
    const walk = new NftWalk(linked, { log: () => void logged[0]!++ }, 0);
    const compiled = new NftCompiled(linked, { log: () => void logged[1]!++ }, 0);
    const packets = [new NftPacket(), new NftPacket()] as const;
    for (let at = 0; at < 60; at++) {
      const bytes = segment(prng);
      const mark = prng.below(2);
      const state = prng.pick([CtState.new, CtState.established]);
      for (const packet of packets) {
        packet.moveTo(new Slab(bytes.slice()), 0, bytes.length, at * 7);
        packet.mark = mark;
        packet.track.state = state;
      }
      const where = `${rule}, packet ${at}`;
      expect(compiled.judge(packets[1], Hook.input), where).toBe(walk.judge(packets[0], Hook.input).verdict);
    }
    expect(compiled.save(0), rule).toEqual(walk.save(0));
    expect(logged[1], rule).toBe(logged[0]);
  }
});

test("of more flows than there are places each packet is judged, and counted, as the walk does", () => {
  const prng = new Prng(11);
  const ports = Array.from({ length: 40 }, (_, at) => `tcp dport ${1_000 + at * 7} counter`);
  const linked = linkRules(
    readTextRules(`table inet t {
      set some { type ipv4_addr . inet_service; elements = { 10.1.0.2 . 1007 } }
      chain few { type filter hook input priority -1; ip saddr 10.1.0.0/28 ip ttl 5 drop; }
      chain c {
        type filter hook input priority 0; policy drop;
        ${ports.join("\n")}
        tcp dport 1014 reject with tcp reset
        ip saddr . tcp dport @some counter drop
        ip6 saddr fd01::/124 counter accept
        ip saddr { 10.1.0.0/30, 10.1.0.17 } tcp dport 1000-1100 counter accept
        meta mark 1 tcp sport < 2000 counter accept
        ip ttl 5 tcp sport 5 counter
      }
    }`),
    ["tun0"],
  );
  const walk = new NftWalk(linked, {}, 0);
  const compiled = new NftCompiled(linked, {}, 0);
  const packets = [new NftPacket(), new NftPacket()] as const;
  for (let at = 0; at < 3_000; at++) {
    const six = prng.chance(0.3);
    const bytes = new Uint8Array(six ? 60 : 40);
    const { view } = new Slab(bytes);
    bytes[0] = six ? 0x60 : 0x45;
    bytes[six ? 6 : 9] = 6;
    bytes[six ? 7 : 8] = prng.pick([5, 64]);
    if (six) bytes.set([0xfd, 1], 8);
    else view.setUint16(12, 0x0a01);
    bytes[six ? 23 : 15] = prng.below(40);
    view.setUint16(six ? 40 : 20, prng.below(at < 1_800 ? 60_000 : 2)); // first ever new flows, then few
    view.setUint16(six ? 42 : 22, 1_000 + prng.below(300));
    for (const packet of packets) {
      packet.moveTo(new Slab(bytes.slice()), 0, bytes.length, at);
      packet.mark = at % 2;
    }
    expect(compiled.judge(packets[1], Hook.input), `packet ${at}`)
      .toBe(walk.judge(packets[0], Hook.input).verdict);
  }
  expect(compiled.save(0)).toEqual(walk.save(0));
});
