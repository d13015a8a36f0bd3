import { expect, test } from "vitest";
import { Slab } from "../../base/slab.ts";
import { Hook } from "../../net/firewall/conntrack/state.ts";
import { NftCompiled } from "../../net/firewall/nft/compiled.ts";
import { NftVerdict } from "../../net/firewall/nft/environment.ts";
import { linkRules } from "../../net/firewall/nft/link.ts";
import { listRules } from "../../net/firewall/nft/list.ts";
import { NftPacket } from "../../net/firewall/nft/packet.ts";
import { NftWalk } from "../../net/firewall/nft/walk.ts";
import { printTextRules } from "../../net/firewall/nft/text/print.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { datagramTo } from "./datagram.ts";

/** How many of three packets of one sender pass. */
function passed(compiled: NftCompiled): number {
  const packet = new NftPacket();
  return [1, 2, 3].filter(() => {
    const slab = new Slab(datagramTo("10.0.0.2", 53));
    packet.moveTo(slab, 0, slab.bytes.length, 0);
    return compiled.judge(packet, Hook.input) === NftVerdict.Accept;
  }).length;
}

test("an element that a rule has added keeps its limit when it is saved, listed and read again", () => {
  const rules = readTextRules(`table ip t {
    set seen { type ipv4_addr; flags dynamic; }
    chain c {
      type filter hook input priority 0;
      update @seen { ip saddr limit rate over 2/hour burst 2 packets } drop
      delete @seen { ip daddr } accept
    }
  }`);
  const linked = linkRules(rules, []);
  const compiled = new NftCompiled(linked, {}, 0);
  expect(passed(compiled)).toBe(2); // what is deleted is not there, and the rule goes on
  const again = new NftCompiled(linked, {}, 0);
  again.load(compiled.save(0));
  expect(passed(again)).toBe(0);
  const text = printTextRules(listRules(linked, again.save(0), 0));
  expect(text).toContain("10.9.0.1 limit rate over 2/hour burst 2 packets");
  expect(passed(new NftCompiled(linkRules(readTextRules(text), []), {}, 0))).toBe(2);
});

test("an element that ends leads to its object by name when it is listed", () => {
  const text = `table ip t {
    counter other { }
    counter hits { }
    map m { type ipv4_addr : counter; flags timeout; elements = { 10.9.0.1 timeout 1h : "hits" }; }
    chain c { type filter hook input priority 0; counter name ip saddr map @m; }
  }`;
  const linked = linkRules(readTextRules(text), []);
  const compiled = new NftCompiled(linked, {}, 0);
  expect(passed(compiled)).toBe(3);
  const listed = printTextRules(listRules(linked, compiled.save(0), 0));
  expect(listed).toContain('10.9.0.1 timeout 1h expires 1h : "hits"');
  expect(listed).toContain("packets 3 bytes 120");
  linkRules(readTextRules(listed), []);
});

test("a rule may add what no packet has: who knocks at one port in time is let in at the next", () => {
  const linked = linkRules(
    readTextRules(`table inet t {
      set waiting { type ipv4_addr . inet_service; flags timeout; }
      chain c {
        type filter hook input priority 0; policy drop;
        udp dport 7001 add @waiting { ip saddr . 7002 timeout 5s }
        ip saddr . udp dport @waiting accept
      }
    }`),
    [],
  );
  const compiled = new NftCompiled(linked, {}, 0);
  const walk = new NftWalk(linked, {}, 0);
  const knock = (port: number, nowMs: number): boolean => {
    const packets = [new NftPacket(), new NftPacket()];
    for (const packet of packets) {
      const slab = new Slab(datagramTo("10.0.0.2", port));
      packet.moveTo(slab, 0, slab.bytes.length, nowMs);
    }
    const verdict = compiled.judge(packets[0]!, Hook.input);
    expect(walk.judge(packets[1]!, Hook.input).verdict).toBe(verdict);
    return verdict === NftVerdict.Accept;
  };
  expect([
    knock(7_002, 0),
    knock(7_001, 1_000),
    knock(7_002, 2_000),
    knock(7_003, 2_000),
    knock(7_002, 7_000),
  ])
    .toEqual([false, false, true, false, false]);
  expect(compiled.save(7_000)).toEqual(walk.save(7_000));
});
