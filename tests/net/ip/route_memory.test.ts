import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import type { PacketHooks } from "../../../net/firewall/nft/hooks.ts";
import { Stack } from "../../../net/stack.ts";
import { tcpConnect } from "../../../net/tcp/user.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";

test("the way of a packet whose destination was translated is not taken by the next one to the same destination", () => {
  const stack = new Stack({ nowMs: 0, entropy: new Prng(1) });
  const sent: number[] = [];
  for (const index of [0, 1]) {
    const send = (): boolean => sent.push(index) > 0;
    stack.addInterface({ name: `net${index}`, link: { medium: "ip", mtu: 1_500, send, flush: () => {} } });
  }
  const addresses = [{ address: "10.0.0.1/24", interface: 0 }, { address: "10.1.0.1/24", interface: 1 }];
  stack.setRoutes({ addresses });
  const local = parseIpv4("10.0.0.1")!, remote = parseIpv4("10.0.0.2")!, elsewhere = parseIpv4("10.1.0.2")!;
  let port = 5_000;
  const connect = (): unknown => tcpConnect(stack.tcp, local, port++, remote, 80, 0);
  expect(connect()).toBeDefined();
  stack.output.hooks = {
    rules: { uses: { nat: true } },
    output: () => true,
    postrouting: () => true,
    outSource: () => local,
    outDestination: () => elsewhere,
  } as unknown as PacketHooks;
  expect(connect()).toBeDefined();
  stack.output.hooks = undefined;
  expect(connect()).toBeDefined();
  expect(sent).toEqual([0, 1, 0]);
});
