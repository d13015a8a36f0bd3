import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { type FirewallEvent, formatFirewallEvent } from "../../mod.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { Stack } from "../../net/stack.ts";
import { KernelFirewall, OWN } from "../firewall/kernel/kernel_firewall.ts";
import { datagramTo } from "../firewall/datagram.ts";
import { judge } from "../support/judge.ts";

const RULES = `table inet filter {
  chain early {
    type filter hook prerouting priority raw; policy accept;
    udp dport { 53, 54, 55, 56 } meta nftrace set 1
  }
  chain web {
    udp dport 53 accept
    udp dport 54 return
    udp dport 57 drop
  }
  chain other {
    udp dport 55 meta mark set 0x00000005 drop
    udp dport 56 reject with icmpx admin-prohibited
  }
  chain input {
    type filter hook input priority filter; policy accept;
    udp dport 80 accept
    udp dport 53-55 jump web
    udp dport 54 return
    ip protocol udp goto other
  }
}
`;

judge(
  "a traced packet's way is told as nft monitor trace tells it",
  ["root", "tun", "ip", "nft", "python3"],
  async () => {
    const packets = [53, 54, 55, 56, 57].map((port) => datagramTo(OWN[0], port));
    using kernel = await KernelFirewall.start();
    expect(kernel.loadText(RULES)).toBe(undefined);
    const monitor = spawn("ip", [
      "netns",
      "exec",
      kernel.netns.name,
      "stdbuf",
      "-oL",
      "nft",
      "monitor",
      "trace",
    ]);
    let told = "";
    monitor.stdout.on("data", (data) => told += data);
    const last = /^trace id \S+ inet filter other (rule udp dport 56|policy)[^\n]*\n/m;
    for (let tries = 0; tries < 50 && !last.test(told); tries++) { // until it listens
      told = "";
      await kernel.inject(packets);
      await sleep(200);
    }
    monitor.kill();
    await once(monitor, "close");

    const stack = new Stack({ nowMs: 1_000_000, entropy: new Prng(1) });
    stack.addInterface({
      name: "tun0",
      link: { medium: "ip", mtu: 1_500, send: () => true, flush: () => {} },
    });
    stack.setRoutes({ addresses: [{ address: `${OWN[0]}/32` }] });
    stack.setRules(readTextRules(RULES));
    const events: FirewallEvent[] = [];
    stack.hooks.event = (event) => void events.push(event);
    for (const packet of packets) stack.receive(0, new Slab(packet), 0, packet.length, 1_000_000);

    /** The last line for each packet apart, without the ids and what nft adds of the packet. */
    const byPacket = (lines: readonly string[]): string[][] => {
      const packets = new Map<string, string[]>();
      for (const line of lines) {
        const [, id, rest] = /^trace id (\S+) (.*?) ?$/.exec(line) ?? [];
        if (id === undefined || / packet: /.test(line)) continue;
        packets.set(id, [...packets.get(id) ?? [], rest!]);
      }
      return [...packets.values()];
    };
    const theirs = byPacket(told.split("\n")).slice(-4);
    const ours = byPacket(events.map(formatFirewallEvent));
    expect(ours).toEqual(theirs);
    expect(ours.length).toBe(4);
    expect(events.map(({ packet }) => packet.destinationPort)).not.toContain(57);
    expect(events[0]).toMatchObject({
      type: "rule",
      hook: "prerouting",
      chain: "early",
      line: 4,
      verdict: "continue",
      packet: { iif: "tun0", destination: OWN[0], destinationPort: 53, protocol: 17, length: 40 },
    });
  },
);
