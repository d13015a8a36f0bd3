import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { CtState, Hook } from "../../net/firewall/conntrack/state.ts";
import type { Tracker } from "../../net/firewall/conntrack/tracker.ts";
import { NftCompiled } from "../../net/firewall/nft/compiled.ts";
import { type NftEnvironment, NftVerdict } from "../../net/firewall/nft/environment.ts";
import { linkRules } from "../../net/firewall/nft/link.ts";
import { NftPacket } from "../../net/firewall/nft/packet.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { NftWalk } from "../../net/firewall/nft/walk.ts";
import { AddressTable } from "../../net/ip/address_table.ts";
import { drawSeed } from "../support/seed.ts";
import { fromHex } from "../net/wire/frames.ts";

const addresses = new AddressTable({ entropy: new Prng(1) });
const of = (text: string): number => addresses.parse(text)!;
/** By flow: both ends of the original direction; those of the reply are the other way round. */
const FLOWS: Readonly<Record<number, { protocol: number; ends: [string, number, string, number] }>> = {
  1: { protocol: 6, ends: ["10.1.0.1", 1_000, "10.2.0.1", 80] },
  2: { protocol: 17, ends: ["fd00::1", 5_353, "fd00::2", 53] },
};
const end = (
  flow: number,
  direction: number,
  which: "source" | "destination",
  part: 0 | 1,
): string | number => FLOWS[flow]!.ends[((which === "source") === (direction === 0) ? 0 : 2) + part]!;
const tracker = {
  mark: () => 0x2a,
  setMark: () => {},
  zone: ({ flow }) => flow,
  status: () => 0x1e,
  expirationMs: () => 90_500,
  id: ({ flow }) => flow,
  address: ({ flow }, direction, which) => of(end(flow, direction, which, 0) as string),
  port: ({ flow }, direction, which) => end(flow, direction, which, 1) as number,
  protocol: ({ flow }) => FLOWS[flow]!.protocol,
  packets: (_, direction) => direction === 0 ? 3 : 4,
  bytes: (_, direction) => direction === 0 ? 2 ** 33 : 4_000,
  alive: () => true,
} satisfies Partial<Tracker>;
const environment: NftEnvironment = {
  tracker: tracker as unknown as Tracker,
  addresses,
  fib: {
    type: (_, destination, within) => destination ? 2 : within < 0 ? 1 : 3,
    oif: (_, destination, within) => destination ? -1 : within < 0 ? 1 : within,
    mss: (packet) => packet.nfproto === 2 ? 1_460 : -1,
  },
  random: () => 0x8000_0000,
};

const FOUR = fromHex("45b8002800070000400600000a0100010a02000103e8005000000001000000025012010000000000");
/** Behind a header for every hop, one for routers, and one of a first fragment. */
const SIX = fromHex(
  `60000000002011ff${"fd00"}${"00".repeat(13)}01fd00${"00".repeat(13)}02`.replace("2011ff", "200040") +
    "2b00010400000000" + "2c00000000000000" + "1100000100000007" + "14e9003500080000",
);

function packet(which: "four" | "six" | "stray"): NftPacket {
  const bytes = which === "six" ? SIX : FOUR;
  const made = new NftPacket();
  made.moveTo(new Slab(bytes.slice()), 0, bytes.length, 1_000_000);
  Object.assign(made, {
    iif: which === "six" ? 1 : 0,
    mark: 7,
    priority: 3,
    packetType: which === "six" ? 2 : 0,
  });
  const track = {
    four: { flow: 1, state: CtState.established, direction: 0 },
    six: { flow: 2, state: CtState.related, direction: 1 },
    stray: { flow: -1, state: CtState.invalid, direction: 0 },
  }[which];
  Object.assign(made.track, track);
  return made;
}

/** Whether a rule with these matches takes the packets: of IPv4 and its connection, of IPv6, of no connection. */
const CASES: readonly [rule: string, four: boolean, six: boolean, stray: boolean][] = [
  ["meta nfproto ipv4", true, false, true],
  ["meta l4proto udp", false, true, false],
  ["meta protocol ip6", false, true, false],
  ["meta priority 3", true, true, true],
  ["meta mark and 3 == 3", true, true, true],
  ["meta mark xor 2 == 5", true, true, true],
  ["meta mark << 4 == 0x70", true, true, true],
  ["meta mark >> 1 == 3", true, true, true],
  ["meta mark or 8 == 15", true, true, true],
  ["meta pkttype multicast", false, true, false],
  ["meta random < 0x80000001", true, true, true],
  ["meta random < 0x80000000", false, false, false],
  ['iif "eth1"', false, true, false],
  ['iifname "tun*"', true, false, true],
  ['oifname "eth1"', false, false, false],
  ["ip dscp af41", false, false, false],
  ["ip dscp 46", true, false, true],
  ["ip ttl 64 ip id 7", true, false, true],
  ["tcp flags syn,ack / syn,ack", true, false, true],
  ["tcp flags & (syn | ack) == (syn | ack)", true, false, true],
  ["tcp doff 5 tcp window 256", true, false, true],
  ["udp sport 5353 udp length 8", false, true, false],
  ["exthdr hbh exists", false, true, false],
  ["exthdr rt exists", false, true, false],
  ["exthdr frag exists", false, true, false],
  ["exthdr dst missing", false, true, false],
  ["frag id 7", false, true, false],
  ["ct state established", true, false, false],
  ["ct state related", false, true, false],
  ["ct direction reply", false, true, false],
  ["ct mark 0x2a", true, true, false],
  ["ct zone 2", false, true, false],
  ["ct status seen-reply", true, true, false],
  ["ct status assured,confirmed", true, true, false],
  ["ct expiration 1m30s", true, true, false],
  ["ct l3proto ipv6", false, true, false],
  ["ct protocol tcp", true, false, false],
  ["ct original proto-dst 80", true, false, false],
  ["ct reply proto-src 53", false, true, false],
  ["ct reply proto-dst 1000", true, false, false],
  ["ct original ip saddr 10.1.0.1", true, false, false],
  ["ct reply ip daddr 10.1.0.0/16", true, false, false],
  ["ct original ip6 daddr fd00::2", false, true, false],
  ["ct reply ip6 saddr fd00::/64", false, true, false],
  ["ct packets 7", true, true, false],
  ["ct original packets > 3", false, false, false],
  ["ct reply packets 4", true, true, false],
  ["ct bytes > 8589934592", true, true, false],
  ["ct original bytes 8589934592", true, true, false],
  ["ct reply bytes 4000", true, true, false],
  ["fib daddr type local", true, true, true],
  ["fib saddr type unicast", true, true, true],
  ["fib saddr . iif type broadcast", true, true, true],
  ["fib saddr oif exists", true, true, true],
  ["fib daddr oif missing", true, true, true],
  ['fib saddr oif "eth1"', true, true, true],
  ['fib saddr . iif oifname "tun0"', true, false, true],
  ["numgen random mod 4 == 2", true, true, true],
  ["numgen inc mod 2 == 0", true, true, true],
  ["ip saddr . tcp dport { 10.1.0.1 . 80, 10.9.0.0/16 . 1-9 }", true, false, true],
  ["ip6 saddr . meta mark { fd00::1 . 7 }", false, true, false],
  ["ip saddr . ct bytes { 10.1.0.1 . 8589938592 }", true, false, false],
  ["meta mark { 1-3, 7, 9-12 }", true, true, true],
  ["meta mark != { 1-3, 9-12 }", true, true, true],
  ["tcp dport vmap { 22 : drop, 80 : accept }", true, false, true],
  ["meta mark vmap { 0 : drop, * : accept }", true, true, true],
  ["meta mark set ct mark meta mark 0x2a", true, true, false],
  ["meta mark set tcp dport map { 80 : 5, 443 : 6 } meta mark 5", true, false, true],
  ["meta priority set 9 meta priority 9", true, true, true],
  ["meta nftrace set 1", true, true, true],
  ["ct mark set 3", true, true, true],
  ["ct count 1", true, true, true],
  ["ct count over 1", false, false, false],
  ["notrack", true, true, true],
];

test.each(["four", "six", "stray"] as const)(
  "values of the packet, its connection and the routes are what they are, compiled and walked: %s",
  (which) => {
    const wrong: string[] = [];
    for (const [matches, four, six, stray] of CASES) {
      const ends = /vmap/.test(matches) ? "" : "accept";
      let linked;
      try {
        linked = linkRules(
          readTextRules(
            `table inet t { chain c { type filter hook input priority 0; policy drop; ${matches} ${ends}; }; }`,
          ),
          ["tun0", "eth1"],
        );
      } catch (error) {
        wrong.push(`${matches}: ${(error as Error).message}`);
        continue;
      }
      const walked = new NftWalk(linked, environment, 1_000_000).judge(packet(which), Hook.input).verdict;
      const compiled = new NftCompiled(linked, environment, 1_000_000).judge(packet(which), Hook.input);
      const want = ({ four, six, stray })[which] ? NftVerdict.Accept : NftVerdict.Drop;
      if (walked !== want || compiled !== want) {
        wrong.push(`${matches}: ${walked} and ${compiled}, not ${want}`);
      }
    }
    expect(wrong).toEqual([]);
  },
);

const LEARNING = `table inet t {
  set seen { type ipv4_addr; flags dynamic,timeout; size 4; timeout 10s; counter; }
  set few { type ipv4_addr . inet_service; flags dynamic; size 3; }
  set brisk { type ipv4_addr; flags dynamic; size 16; }
  set bad { type ipv4_addr; flags interval; counter; elements = { 10.1.0.4/31, 10.1.0.7 }; }
  map last { type ipv4_addr : mark; flags dynamic,timeout; size 8; timeout 5s; }
  map once { type inet_service : verdict; flags timeout; elements = { 2 timeout 3s : accept, 3 : drop }; }
  chain c {
    type filter hook input priority 0; policy drop;
    ip saddr @bad counter drop
    tcp dport 1 delete @seen { ip saddr }
    tcp dport 2 update @seen { ip saddr timeout 20s }
    tcp dport != 1 add @seen { ip saddr }
    tcp dport 3 add @few { ip saddr . tcp dport } counter
    tcp dport 4 update @last { ip saddr : 6 }
    tcp dport 5 update @last { ip saddr timeout 30s : meta mark and 3 }
    tcp dport vmap @once
    meta mark set ip saddr map @last
    ip saddr @seen meta mark 1-6 quota over 900 bytes accept
    tcp dport 4 update @brisk { ip saddr limit rate over 1/second burst 2 packets } drop
    limit rate 2/second burst 2 packets accept
  }
}`;

test("sets learn, forget and count alike, compiled and walked, through what is saved of them", () => {
  const seed = drawSeed("VALUES_SEED", 1_000_000);
  const prng = new Prng(seed);
  const linked = linkRules(readTextRules(LEARNING), ["tun0", "eth1"]);
  let nowMs = 1_000_000;
  let walk = new NftWalk(linked, environment, nowMs);
  let compiled = new NftCompiled(linked, environment, nowMs);
  const verdicts = new Set<number>();
  for (let at = 0; at < 600; at++) {
    nowMs += prng.pick([0, 1, 300, 300, 2_000, 11_000]);
    const [one, other] = [packet("four"), packet("four")];
    const [from, port] = [1 + prng.below(8), 1 + prng.below(6)];
    for (const each of [one, other]) {
      each.slab.bytes[15] = from;
      each.slab.view.setUint16(22, port);
      each.nowMs = nowMs;
      each.track.flow = 8 * from + port;
    }
    const { verdict } = walk.judge(one, Hook.input);
    const where = `VALUES_SEED=${seed}, packet ${at}`;
    expect(compiled.judge(other, Hook.input), where).toBe(verdict);
    expect(other.mark, where).toBe(one.mark);
    verdicts.add(verdict);
    if (at % 150 !== 149) continue;
    const [saved, savedToo] = [walk.save(nowMs), compiled.save(nowMs)];
    expect(inOrder(savedToo), where).toEqual(inOrder(saved));
    walk = new NftWalk(linked, environment, nowMs);
    walk.load(saved);
    compiled = new NftCompiled(linked, environment, nowMs);
    compiled.load(savedToo);
  }
  expect([...verdicts].sort()).toEqual([NftVerdict.Accept, NftVerdict.Drop]);
});

/** The same state, elements of sets in an order that both evaluations agree on. */
function inOrder(state: ReturnType<NftWalk["save"]>): unknown {
  const text = (value: unknown): string =>
    JSON.stringify(
      value,
      (_, each) => typeof each === "bigint" ? `${each}` : each === Infinity ? "for ever" : each,
    );
  return { ...state, sets: state.sets.map((elements) => elements.map(text).sort()) };
}
