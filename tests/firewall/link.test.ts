import { expect, test } from "vitest";
import { LinkError } from "../../net/firewall/nft/link_error.ts";
import { DEPTH_MAX, INTERFACES_MAX, linkRules } from "../../net/firewall/nft/link.ts";
import type { Chain, NamedSet, Ruleset, Statement, Table } from "../../net/firewall/nft/schema.ts";

const PLAIN: Omit<NamedSet, "name" | "type" | "elem"> = { flags: [], autoMerge: false, stmt: [] };

function table(chains: readonly Chain[], parts: Partial<Table> = {}): Ruleset {
  const bare = { sets: [], counters: [], quotas: [], limits: [] };
  return { tables: [{ family: "inet", name: "t", dormant: false, chains, ...bare, ...parts }] };
}

function chain(
  expr: readonly Statement[],
  hook: "prerouting" | "input" | "postrouting" = "input",
  type: "filter" | "nat" = "filter",
): Chain {
  return { name: "c", base: { type, hook, prio: 0, policy: "accept" }, rules: [{ expr, line: 7 }] };
}

const dport = { payload: { protocol: "tcp", field: "dport" } } as const;
const source = { payload: { protocol: "ip", field: "saddr" } } as const;
const other: Chain = { name: "other", rules: [] };
const set = (fields: Partial<NamedSet>): NamedSet => ({
  ...PLAIN,
  name: "s",
  type: ["ipv4_addr"],
  elem: [],
  ...fields,
});
const nat = { snat: { addr: "10.0.0.1", family: "ip", flags: [] } } as const;
const interval = (low: string, high: string) => ({ val: { range: [low, high] as const } });

/** What is wrong, and what is said of it. */
const WRONG: readonly (readonly [Ruleset, RegExp])[] = [
  [table([chain([{ jump: { target: "none" } }])]), /chain c rule 1, line 7: There is no chain "none"/],
  [table([chain([{ jump: { target: "c" } }])]), /base chain: nobody jumps there/],
  [table([{ name: "loop", rules: [{ expr: [{ goto: { target: "loop" } }] }] }]), /leads back to itself/],
  [
    table([{
      name: "loop",
      rules: [{
        expr: [{ vmap: { key: dport, data: { set: [{ val: 1, data: { jump: { target: "loop" } } }] } } }],
      }],
    }]),
    /leads back to itself/,
  ],
  [
    table([chain([{ reject: { type: "icmpx", expr: 1 } }], "postrouting")]),
    /reject cannot be reached from postrouting/,
  ],
  [
    table([chain([{ jump: { target: "other" } }], "postrouting"), {
      name: "other",
      rules: [{ expr: [{ reject: { type: "icmpx", expr: 1 } }] }],
    }]),
    /chain other rule 1: reject cannot be reached from postrouting/,
  ],
  [table([chain([nat])]), /snat needs a chain of type nat/],
  [table([chain([nat], "prerouting", "nat")]), /snat cannot be reached from prerouting/],
  [
    table([{ name: "c", base: { type: "nat", hook: "forward", prio: 0, policy: "accept" }, rules: [] }]),
    /nat does not go into forward/,
  ],
  [
    table([{ name: "c", base: { type: "nat", hook: "output", prio: -200, policy: "accept" }, rules: [] }]),
    /before connection tracking/,
  ],
  [table([chain([{ accept: null }, { counter: { packets: 0, bytes: 0 } }])]), /no effect/],
  [
    table([chain([
      { match: { op: "==", left: dport, right: 1 } },
      { match: { op: "==", left: { payload: { protocol: "udp", field: "dport" } }, right: 1 } },
    ])]),
    /Conflicting protocols/,
  ],
  [
    table([chain([
      { match: { op: "==", left: source, right: "10.0.0.1" } },
      { match: { op: "==", left: { payload: { protocol: "ip6", field: "hoplimit" } }, right: 1 } },
    ])]),
    /Conflicting protocols/,
  ],
  [table([chain([{ match: { op: "==", left: dport, right: 65_536 } }])]), /65536 does not fit into 16 bits/],
  [table([chain([{ match: { op: "==", left: source, right: "10.0.0" } }])]), /expected an IPv4 address/],
  [
    table([chain([{ match: { op: "==", left: { meta: { key: "iif" } }, right: "eth9" } }])]),
    /"eth9" does not exist/,
  ],
  [table([chain([{ match: { op: "==", left: source, right: "@none" } }])]), /There is no set or map "none"/],
  [
    table([chain([{ match: { op: "==", left: dport, right: "@s" } }])], { sets: [set({})] }),
    /Keys of @s are ipv4_addr, found inet_service/,
  ],
  [
    table([other], { sets: [set({ elem: [interval("10.0.0.1", "10.0.0.9")] })] }),
    /set s element 1: Found an interval, in a set without the flag interval/,
  ],
  [
    table([other], {
      sets: [set({ flags: ["interval"], elem: [interval("10.0.0.1", "10.0.0.9"), { val: "10.0.0.5" }] })],
    }),
    /set s: Intervals overlap/,
  ],
  [
    table([other], {
      sets: [set({
        type: ["ipv4_addr", "inet_service"],
        flags: ["interval"],
        elem: [
          { val: { concat: [{ prefix: { addr: "10.0.0.0", len: 8 } }, 80] } },
          { val: { concat: ["10.1.1.1", { range: [1, 100] }] } },
        ],
      })],
    }),
    /set s: Intervals overlap/,
  ],
  [
    table([other], { sets: [set({ size: 1, elem: [{ val: "10.0.0.1" }, { val: "10.0.0.2" }] })] }),
    /2 elements, expected at most 1/,
  ],
  [
    table([other], { sets: [set({ flags: ["dynamic", "interval"] })] }),
    /Rules do not add to a set of intervals/,
  ],
  [
    table([chain([{ set: { op: "add", set: "@s", elem: source, stmt: [] } }])], { sets: [set({})] }),
    /Rules add to sets with the flag dynamic/,
  ],
  [table([chain([{ use: { kind: "counter", name: "none" } }])]), /There is no counter "none"/],
  [
    table([chain([{ match: { op: "==", left: { meta: { key: "skuid" } }, right: 0 } }])]),
    /meta skuid cannot be known here/,
  ],
  [
    table([chain([{ mangle: { key: { payload: { protocol: "ip", field: "saddr" } }, value: "1.2.3.4" } }])]),
    /ip saddr cannot be set here: addresses and ports are for snat and dnat/,
  ],
  [
    table([chain([{ mangle: { key: { "tcp option": { name: "window", field: "count" } }, value: 1 } }])]),
    /tcp option window count cannot be set here/,
  ],
  [
    table([
      chain([{
        mangle: { key: { "tcp option": { name: "maxseg", field: "size" } }, value: { rt: { key: "mtu" } } },
      }]),
    ]),
    /rt mtu cannot be reached from input: the packet has no way there yet/,
  ],
];

test("linkRules() refuses what cannot work, and says where it stands", () => {
  for (const [rules, said] of WRONG) {
    let error: unknown;
    try {
      linkRules(rules, ["tun0"]);
    } catch (thrown) {
      error = thrown;
    }
    expect(error, `${said}`).toBeInstanceOf(LinkError);
    expect((error as LinkError).message).toMatch(said);
    expect((error as LinkError).message).toMatch(/^Cannot use rules: table inet t/);
  }
});

test("chains jump as deep as in the kernel, 15 below a base chain, and no deeper", () => {
  const deep = (count: number): Ruleset => {
    const plain = Array.from({ length: count }, (_, at): Chain => {
      const expr: Statement[] = at + 1 < count ? [{ jump: { target: `p${at + 1}` } }] : [{ drop: null }];
      return { name: `p${at}`, rules: [{ expr }] };
    });
    return table([chain([{ jump: { target: "p0" } }]), ...plain]);
  };
  expect(linkRules(deep(DEPTH_MAX - 1), []).chains.length).toBe(DEPTH_MAX);
  expect(() => linkRules(deep(DEPTH_MAX), [])).toThrow(/More than 16 chains jump into each other/);
});

test("interfaces are as many as may have names", () => {
  const names = Array.from({ length: INTERFACES_MAX }, (_, at) => `net${at}`);
  expect(linkRules(table([]), names).interfaces.length).toBe(INTERFACES_MAX);
  expect(() => linkRules(table([]), [...names, "more"])).toThrow(/1025 names, expected at most 1024/);
});
