import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import {
  ConnState,
  Direction,
  Firewall,
  FirewallPacket,
  type FirewallRules,
  type Rule,
  Verdict,
} from "../../../net/firewall/mod.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { INTERFACES, randomPacket, randomRules } from "./random_rules.ts";

const SEED = 20_260_101;

function packetOf(
  fields: Partial<FirewallPacket>,
  source = "10.0.0.1",
  destination = "10.0.0.2",
): FirewallPacket {
  return Object.assign(new FirewallPacket(), {
    protocol: 6,
    source: parseIpv4(source)!,
    destination: parseIpv4(destination)!,
    sourcePort: 40_000,
    destinationPort: 80,
    length: 100,
    ...fields,
  });
}

/** Whether `rule` drops the packet under a policy that accepts. */
function drops(rule: Omit<Rule, "action">, packet: FirewallPacket): boolean {
  const firewall = new Firewall({ rules: [{ ...rule, action: "drop" }] }, INTERFACES);
  return firewall.decide(packet) === Verdict.Drop;
}

test("decide() agrees with explain() on random rule sets", () => {
  const matchedAt = new Map<number, number>();
  for (let run = 0; run < 600; run++) {
    const prng = new Prng(SEED + run);
    // Sizes around the word (32), the summary word (1,024), and small ones most of the time.
    const count = run % 100 === 99
      ? prng.pick([1023, 1024, 1025, 2100])
      : prng.pick([0, 1, 5, 31, 32, 33, 64, 200]);
    const firewall = new Firewall(randomRules(prng, count), INTERFACES);
    const packet = new FirewallPacket();
    for (let i = 0; i < 60; i++) {
      randomPacket(prng, packet);
      const expected = firewall.explain(packet);
      const where = `seed ${prng.seed}, packet ${i}: ${JSON.stringify(packet)}`;
      expect(firewall.decide(packet), where).toBe(expected.verdict);
      expect(firewall.lastRule, where).toBe(expected.rule);
      matchedAt.set(expected.rule, (matchedAt.get(expected.rule) ?? 0) + 1);
    }
  }
  // The twins were not merely idle together.
  expect(matchedAt.get(-1)).toBeGreaterThan(500);
  expect([...matchedAt.keys()].filter((rule) => rule >= 32).length).toBeGreaterThan(10);
});

test("decide() finds the only rule that matches among many that nearly do", () => {
  // Every rule agrees with the packet in all dimensions but one, so all summaries overlap.
  const rules: Rule[] = Array.from({ length: 3_000 }, (_, i) => ({
    protocol: "tcp",
    source: i % 2 === 0 ? "10.0.0.1" : "10.0.0.9",
    destination: i % 2 === 1 ? "10.0.0.2" : "10.0.0.9",
    action: "drop",
  }));
  for (const at of [0, 31, 32, 1023, 1024, 2047, 2048, 2999]) {
    const some = rules.with(at, { source: "10.0.0.1", destination: "10.0.0.2", action: "reject" });
    const firewall = new Firewall({ rules: some }, INTERFACES);
    expect(firewall.decide(packetOf({})), `${at}`).toBe(Verdict.Reject);
    expect(firewall.lastRule).toBe(at);
  }
  const firewall = new Firewall({ rules }, INTERFACES);
  expect(firewall.decide(packetOf({}))).toBe(Verdict.Accept);
  expect(firewall.lastRule).toBe(-1);
});

test("a prefix matches its first and last address and neither neighbour", () => {
  for (
    const [prefix, inside, outside] of [
      ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]],
      ["10.0.0.5", ["10.0.0.5"], ["10.0.0.4", "10.0.0.6"]],
      ["10.0.0.4/31", ["10.0.0.4", "10.0.0.5"], ["10.0.0.3", "10.0.0.6"]],
      ["0.0.0.0/1", ["0.0.0.0", "127.255.255.255"], ["128.0.0.0", "255.255.255.255"]],
      ["128.0.0.0/1", ["128.0.0.0", "255.255.255.255"], ["127.255.255.255", "0.0.0.0"]],
      ["255.255.255.255", ["255.255.255.255"], ["255.255.255.254", "0.0.0.0"]],
      ["0.0.0.0/0", ["0.0.0.0", "127.255.255.255", "128.0.0.0", "255.255.255.255"], []],
    ] as const
  ) {
    for (const [addresses, expected] of [[inside, true], [outside, false]] as const) {
      for (const address of addresses) {
        const where = `${prefix} ${address}`;
        expect(drops({ source: prefix }, packetOf({}, address)), where).toBe(expected);
        expect(drops({ destination: prefix }, packetOf({}, "1.1.1.1", address)), where).toBe(expected);
      }
    }
  }
});

test("a port range matches both its ends and neither neighbour, for TCP and UDP alone", () => {
  for (
    const [range, inside, outside] of [
      [443, [443], [442, 444]],
      ["1024-65535", [1024, 65_535], [0, 1023]],
      ["0-1023", [0, 1023], [1024, 65_535]],
      [0, [0], [1, 65_535]],
      [65_535, [65_535], [65_534, 0]],
      ["0-65535", [0, 1, 65_535], []],
    ] as const
  ) {
    for (const [ports, expected] of [[inside, true], [outside, false]] as const) {
      for (const port of ports) {
        for (const protocol of [6, 17, 1, 47]) {
          const hit = expected && (protocol === 6 || protocol === 17);
          const where = `${range} ${port} protocol ${protocol}`;
          const packet = packetOf({
            protocol,
            sourcePort: port,
            destinationPort: port,
            icmpType: port & 255,
          });
          expect(drops({ sourcePort: range }, packet), where).toBe(hit);
          expect(drops({ destinationPort: range }, packet), where).toBe(hit);
        }
      }
    }
  }
});

test("an ICMP type matches ICMP packets alone, whatever their port fields hold", () => {
  expect(drops({ icmpType: 8 }, packetOf({ protocol: 1, icmpType: 8 }))).toBe(true);
  expect(drops({ icmpType: [0, 255] }, packetOf({ protocol: 1, icmpType: 255 }))).toBe(true);
  expect(drops({ icmpType: [0, 255] }, packetOf({ protocol: 1, icmpType: 254 }))).toBe(false);
  expect(drops({ icmpType: 8 }, packetOf({ protocol: 17, icmpType: 8, destinationPort: 8 }))).toBe(false);
  expect(drops({ icmpType: 8, protocol: "any" }, packetOf({ protocol: 47, icmpType: 8 }))).toBe(false);
});

test("direction, state, protocol and interface each separate packets", () => {
  expect(drops({ direction: "output" }, packetOf({ direction: Direction.Output }))).toBe(true);
  expect(drops({ direction: "output" }, packetOf({ direction: Direction.Input }))).toBe(false);
  expect(drops({ direction: "forward" }, packetOf({ direction: Direction.Forward }))).toBe(true);
  expect(drops({ state: ["new", "invalid"] }, packetOf({ state: ConnState.Invalid }))).toBe(true);
  expect(drops({ state: ["new", "invalid"] }, packetOf({ state: ConnState.Related }))).toBe(false);
  expect(drops({ state: "established" }, packetOf({ state: ConnState.Established }))).toBe(true);
  expect(drops({ protocol: "udp" }, packetOf({ protocol: 17 }))).toBe(true);
  expect(drops({ protocol: "udp" }, packetOf({ protocol: 6 }))).toBe(false);
  expect(drops({ protocol: "any" }, packetOf({ protocol: 132 }))).toBe(true);
  expect(drops({ interface: "eth1" }, packetOf({ interfaceIndex: 2 }))).toBe(true);
  expect(drops({ interface: ["tun0", "eth0"] }, packetOf({ interfaceIndex: 2 }))).toBe(false);
  expect(drops({ interface: INTERFACES }, packetOf({ interfaceIndex: 3 }))).toBe(false);
  expect(drops({ interface: INTERFACES }, packetOf({ interfaceIndex: -1 }))).toBe(false);
  expect(drops({}, packetOf({ interfaceIndex: -1 }))).toBe(true);
});

test("the policy decides by direction where no rule does, and accepts unless told otherwise", () => {
  const verdicts = (rules: FirewallRules) => {
    const firewall = new Firewall(rules);
    return Object.values(Direction).map((direction) => firewall.decide(packetOf({ direction })));
  };
  const { Accept, Drop } = Verdict;
  expect(verdicts({ rules: [] })).toEqual([Accept, Accept, Accept]);
  expect(verdicts({ policy: { input: "drop" }, rules: [] })).toEqual([Drop, Accept, Accept]);
  expect(verdicts({ policy: { output: "drop", forward: "accept" }, rules: [] })).toEqual([
    Accept,
    Drop,
    Accept,
  ]);
  expect(verdicts({ policy: { forward: "drop" }, rules: [] })).toEqual([Accept, Accept, Drop]);
});

test("rules() counts packets and bytes where they were decided, charge() adds to them", () => {
  const rules: Rule[] = [{ protocol: "udp", action: "drop" }, { destinationPort: 80, action: "accept" }];
  const firewall = new Firewall({ rules });
  firewall.decide(packetOf({ length: 60 }));
  firewall.decide(packetOf({ length: 40 }));
  firewall.charge(firewall.lastRule, Direction.Input, 1000);
  firewall.decide(packetOf({ destinationPort: 81, direction: Direction.Output, length: 7 }));
  firewall.explain(packetOf({})); // counts nothing
  expect(firewall.rules()).toEqual({
    policy: {
      input: { action: "accept", packets: 0, bytes: 0 },
      output: { action: "accept", packets: 1, bytes: 7 },
      forward: { action: "accept", packets: 0, bytes: 0 },
    },
    rules: [{ rule: rules[0], packets: 0, bytes: 0 }, { rule: rules[1], packets: 3, bytes: 1100 }],
  });
});

test("replace() carries the counters of equal rules and moves the generation", () => {
  const web: Rule = { protocol: "tcp", destinationPort: [80, 443], action: "accept", comment: "web" };
  const dns: Rule = { protocol: "udp", destinationPort: 53, action: "accept" };
  const firewall = new Firewall({ policy: { input: "drop" }, rules: [web, dns] });
  firewall.decide(packetOf({ length: 10 }));
  firewall.decide(packetOf({ length: 20, protocol: 17, destinationPort: 53 }));
  firewall.decide(packetOf({ length: 30, destinationPort: 22 }));
  expect(firewall.generation).toBe(0);

  // The same ports in another order under another name, a changed rule, and a rule twice.
  const same: Rule = { ...web, destinationPort: [443, "80-80"], comment: "renamed" };
  const changed: Rule = { ...dns, action: "reject" };
  firewall.replace({ policy: { input: "drop" }, rules: [changed, same, same] });
  expect(firewall.generation).toBe(1);
  expect(firewall.rules().rules.map(({ packets, bytes }) => [packets, bytes])).toEqual([[0, 0], [1, 10], [
    0,
    0,
  ]]);
  expect(firewall.rules().policy.input).toEqual({ action: "drop", packets: 1, bytes: 30 });

  const pair: Rule = { destinationPort: [81, 80], action: "accept" };
  const range: Rule = { destinationPort: "80-81", action: "accept" };
  const other = new Firewall({ rules: [pair] });
  other.decide(packetOf({ length: 10 }));
  other.replace({ rules: [range] });
  expect(other.rules().rules[0]).toEqual({ rule: range, packets: 1, bytes: 10 });

  firewall.replace({ policy: { input: "accept" }, rules: [] });
  expect(firewall.rules().policy.input).toEqual({ action: "accept", packets: 0, bytes: 0 });
  expect(firewall.decide(packetOf({}))).toBe(Verdict.Accept);
});

test("replace() with a mistake leaves the old rules in force", () => {
  const firewall = new Firewall({ rules: [{ action: "drop" }] });
  firewall.decide(packetOf({}));
  expect(() => firewall.replace({ rules: [{ source: "nowhere", action: "accept" }] })).toThrow(
    "rules[0].source",
  );
  expect(firewall.generation).toBe(0);
  expect(firewall.decide(packetOf({}))).toBe(Verdict.Drop);
  expect(firewall.rules().rules[0]!.packets).toBe(2);
});

test("later changes to the caller's data change nothing", () => {
  const list = ["10.0.0.1"];
  const rules: FirewallRules = { rules: [{ source: list, action: "drop" }] };
  const firewall = new Firewall(rules);
  list[0] = "10.0.0.9";
  expect(firewall.decide(packetOf({}))).toBe(Verdict.Drop);
  expect(firewall.rules().rules[0]!.rule.source).toEqual(["10.0.0.1"]);
});

test("explain() names the first field that did not match", () => {
  const firewall = new Firewall({
    policy: { input: "drop" },
    rules: [
      { protocol: "udp", action: "accept" },
      { source: "192.168.0.0/16", destinationPort: 80, action: "accept", comment: "office" },
      { icmpType: 8, action: "accept" },
      { destinationPort: "1-79", action: "accept" },
      { state: "established", action: "accept" },
      { interface: "eth0", action: "accept" },
      { direction: "output", action: "accept" },
      { destinationPort: 80, action: "reject" },
      { action: "accept" },
    ],
  }, INTERFACES);
  const explained = firewall.explain(packetOf({}));
  expect(explained.rule).toBe(7);
  expect(explained.verdict).toBe(Verdict.Reject);
  expect(explained.steps.map(({ field, found }) => [field, found])).toEqual([
    ["protocol", "protocol tcp"],
    ["source", "10.0.0.1"],
    ["icmpType", "protocol tcp"],
    ["destinationPort", "80"],
    ["state", "new"],
    ["interface", "tun0"],
    ["direction", "input"],
    [undefined, undefined],
  ]);
  expect(explained.steps[1]).toEqual({
    rule: 1,
    comment: "office",
    matched: false,
    field: "source",
    expected: "192.168.0.0/16",
    found: "10.0.0.1",
  });
});

test("an IPv6 packet satisfies no rule about IPv4 addresses, and every rule about ports and protocols", () => {
  const handle = 0xf000_0007 | 0;
  const six = (fields: Partial<FirewallPacket> = {}): FirewallPacket =>
    packetOf({ source: handle, destination: handle, ...fields });
  for (const prefix of ["0.0.0.0/0", "128.0.0.0/1", "240.0.0.0/4", "240.0.0.0/8", "240.0.0.7"]) {
    expect(drops({ source: prefix }, six()), prefix).toBe(false);
    expect(drops({ destination: prefix }, six()), prefix).toBe(false);
    expect(drops({ source: prefix, destinationPort: 80, protocol: "tcp" }, six()), prefix).toBe(false);
  }
  expect(drops({ source: "0.0.0.0/0" }, packetOf({}))).toBe(true);
  expect(drops({}, six())).toBe(true);
  expect(drops({ destinationPort: 80 }, six())).toBe(true);
  expect(drops({ destinationPort: 81 }, six())).toBe(false);
  expect(drops({ protocol: "tcp", interface: "tun0" }, six())).toBe(true);
  expect(drops({ protocol: "icmp" }, six({ protocol: 58, icmpType: 128 }))).toBe(true);
  expect(drops({ icmpType: 128 }, six({ protocol: 58, icmpType: 128 }))).toBe(false);

  // Counters and the last rule are those of the whole set.
  const firewall = new Firewall({
    rules: [{ source: "0.0.0.0/0", action: "drop" }, { destinationPort: 80, action: "reject" }],
  });
  expect(firewall.decide(six())).toBe(Verdict.Reject);
  expect(firewall.lastRule).toBe(1);
  expect(firewall.rules().rules.map(({ packets }) => packets)).toEqual([0, 1]);
  expect(firewall.explain(six()).steps[0]).toMatchObject({ matched: false, field: "source" });
  firewall.replace({ rules: [{ destinationPort: 80, action: "drop" }] });
  expect(firewall.decide(six())).toBe(Verdict.Drop);
});
