import { expect, test } from "vitest";
import { readTextRules } from "../../../../net/firewall/nft/text/read.ts";
import { FirewallError } from "../../../../net/firewall/rule.ts";
import { refusal, SERVER, settled, virtualPair } from "../world.ts";
import { DnsServer } from "./server.ts";

const RULES = readTextRules(`table inet egress {
  set api { type ipv4_addr; flags timeout; comment "dns-names: api.test *.api.test"; }
  chain output {
    type filter hook output priority filter; policy drop;
    ip daddr ${SERVER} udp dport 53 accept
    tcp dport 80 ip daddr @api accept
    meta l4proto tcp reject with tcp reset comment "only api.test"
  }
}`);

function world() {
  const pair = virtualPair({}, { dns: { nameServers: [SERVER], hosts: { "host.api.test": SERVER } } }, {
    medium: "ip",
  });
  const dns = new DnsServer(pair.server, (name, type) => {
    if (type !== "A") return { answers: [] };
    if (name !== "www.api.test") return { answers: [{ type: "A", name, data: SERVER, ttl: 100 }] };
    return {
      answers: [
        { type: "CNAME", name, data: "cdn.test", ttl: 100 },
        { type: "A", name: "cdn.test", data: SERVER, ttl: 100 },
      ],
    };
  });
  pair.server.listen({ port: 80 });
  pair.client.setRules(RULES);
  return { ...pair, dns };
}

for (const name of ["api.test", "www.api.test", "host.api.test"]) {
  test(`an address is let out when ${name} was resolved, until the answer ends`, async () => {
    const { client, clock } = world();
    const connect = async (hostname: string): Promise<void> =>
      (await settled(clock, client.connect({ hostname, port: 80 }))).close();
    expect(await refusal(() => connect(SERVER))).toMatch(/ConnectionRefused/);
    expect(await refusal(() => connect("other.test"))).toMatch(/ConnectionRefused/);
    await connect(name);
    await connect(SERVER); // the same address, with or without its name
    const listed = client.rules()!.tables[0]!.sets[0]!.elem;
    expect(listed).toMatchObject([{ val: SERVER }]);
    const seconds = listed[0]!.expires!;
    expect(seconds).toBeGreaterThan(name === "host.api.test" ? 80_000 : 90);
    await clock.advance(seconds * 1_000 + 1_000);
    expect(await refusal(() => connect(SERVER))).toMatch(/ConnectionRefused/);
    await connect(name);
  });
}

test("a name that no set means lets nothing out, nor does a name above a pattern", async () => {
  const { client, clock } = world();
  const connect = (hostname: string): Promise<unknown> =>
    settled(clock, client.connect({ hostname, port: 80 }));
  for (const name of ["test", "xapi.test", "api.test.evil.test"]) {
    expect(await refusal(() => connect(name)), name).toMatch(/ConnectionRefused/);
  }
  expect(client.rules()!.tables[0]!.sets[0]!.elem).toEqual([]);
});

test("a comment that names nothing, or a set that cannot take names, is refused with its place", () => {
  const { client } = world();
  for (
    const [set, message] of [
      ['type ipv4_addr; flags timeout; comment "dns-names:"', /set s: Expected names/],
      ['type ipv4_addr; flags timeout; comment "dns-names: a..b"', /Found "a\.\.b"/],
      ['type ipv4_addr; comment "dns-names: a.test"', /flags timeout/],
      ['type inet_service; flags timeout; comment "dns-names: a.test"', /sets of ipv4_addr or ipv6_addr/],
    ] as const
  ) {
    const rules = readTextRules(`table ip t { set s { ${set}; }; }`);
    expect(() => client.setRules(rules)).toThrow(FirewallError);
    expect(() => client.setRules(rules)).toThrow(message);
  }
});
