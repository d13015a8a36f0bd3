import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { printJsonRules } from "../../net/firewall/nft/json/print.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { datagramTo } from "../firewall/datagram.ts";
import { KernelFirewall, OWN } from "../firewall/kernel/kernel_firewall.ts";
import { OurStack } from "../firewall/kernel/our_firewall.ts";
import { judge } from "../support/judge.ts";

const RULES = `table ip t {
  set clients { type ipv4_addr; size 100; flags dynamic; }
  chain c {
    type filter hook input priority filter; policy accept;
    ct state new counter
    udp dport 7 ct count over 3 counter drop
    udp dport 9 ct count 2 counter accept
    udp dport 9 counter drop
    udp dport 11 add @clients { ip saddr ct count over 4 } counter drop
    counter
  }
}`;

/** Packets of each rule's counters. */
function counters(document: unknown): unknown[] {
  return (document as { nftables: { rule?: { expr: { counter?: { packets: number } }[] } }[] }).nftables
    .flatMap(
      ({ rule }) => rule?.expr.flatMap(({ counter }) => counter === undefined ? [] : [counter.packets]) ?? [],
    );
}

// When the kernel forgets connections that have ended is a matter of its jiffies, and of its version where another packet of a
// known connection comes: drawn packets cannot judge that.
judge("ct count counts connections as the kernel does", ["root", "tun", "ip", "nft", "python3"], async () => {
  const packets = [7, 9, 11].flatMap((port) =>
    [1, 2, 3, 4, 5, 6].map((client) => {
      const packet = datagramTo(OWN[0], port);
      new DataView(packet.buffer).setUint16(20, 4_000 + client);
      return packet;
    })
  );
  using kernel = await KernelFirewall.start();
  expect(kernel.loadText(RULES)).toBe(undefined);
  kernel.forget();
  for (const packet of packets) {
    await kernel.inject([packet]);
    await sleep(30); // for some jiffies the kernel counts connections that were dropped
  }
  const ours = new OurStack(readTextRules(RULES));
  for (const packet of packets) ours.inject(packet);
  const theirs = counters(kernel.list());
  expect(counters(printJsonRules(ours.list()))).toEqual(theirs);
  expect(Math.min(...theirs as number[])).toBeGreaterThan(0);
});
