import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { addressKey, intervalOf } from "../../../net/ip/intervals.ts";
import { type RouteConfig, RouteError, ROUTES_MAX, type RouteSpec } from "../../../net/ip/route_config.ts";
import { AddressKind, INTERFACE_LOCAL, type RouteRecord } from "../../../net/ip/route_record.ts";
import { RouteTable } from "../../../net/ip/routes.ts";
import { formatIpv4, isInPrefix, maskOf, parseIpv4, parsePrefix } from "../../../net/wire/address.ts";

function way(table: RouteTable, destination: string): string {
  const into: RouteRecord = { interfaceIndex: 99, nextHop: 99, source: 99 };
  if (!table.route(parseIpv4(destination)!, into)) {
    expect(into).toEqual({ interfaceIndex: 99, nextHop: 99, source: 99 });
    return "none";
  }
  return `${into.interfaceIndex} via ${formatIpv4(into.nextHop)} from ${formatIpv4(into.source)}`;
}

function kind(table: RouteTable, address: string): string {
  const found = table.classify(parseIpv4(address)!);
  return Object.entries(AddressKind).find(([, value]) => value === found)![0];
}

test("a table tells apart what is ours, beside us, behind a gateway, everyone's and nobody's", () => {
  const table = new RouteTable({
    addresses: [{ address: "10.7.0.2/24", gateway: "10.7.0.1" }, { address: "192.168.5.9/30", interface: 1 }],
    subnets: ["10.8.0.0/16"],
    routes: [
      { destination: "172.16.0.0/12", interface: 1, gateway: "192.168.5.10" },
      { destination: "172.16.9.0/24", gateway: "10.7.0.77", source: "10.8.0.5" },
      { destination: "10.8.4.0/24", interface: 1 },
    ],
  }, 2);
  const cases: [address: string, kind: string, way: string][] = [
    ["10.7.0.2", "Ours", "-1 via 10.7.0.2 from 10.7.0.2"],
    ["10.7.0.1", "Other", "0 via 10.7.0.1 from 10.7.0.2"],
    ["10.7.0.254", "Other", "0 via 10.7.0.254 from 10.7.0.2"],
    ["10.7.0.255", "Broadcast", "0 via 10.7.0.255 from 10.7.0.2"],
    ["10.7.1.0", "Other", "0 via 10.7.0.1 from 10.7.0.2"],
    ["10.8.0.0", "Ours", "-1 via 10.8.0.0 from 10.8.0.0"],
    ["10.8.255.255", "Ours", "-1 via 10.8.255.255 from 10.8.255.255"],
    ["10.9.0.0", "Other", "0 via 10.7.0.1 from 10.7.0.2"],
    ["10.8.4.1", "Other", "1 via 10.8.4.1 from 192.168.5.9"], // a longer prefix inside an own subnet
    ["192.168.5.8", "Other", "1 via 192.168.5.8 from 192.168.5.9"],
    ["192.168.5.11", "Broadcast", "1 via 192.168.5.11 from 192.168.5.9"],
    ["192.168.5.12", "Other", "0 via 10.7.0.1 from 10.7.0.2"],
    ["172.16.0.1", "Other", "1 via 192.168.5.10 from 192.168.5.9"],
    ["172.31.255.255", "Other", "1 via 192.168.5.10 from 192.168.5.9"],
    ["172.16.9.1", "Other", "0 via 10.7.0.77 from 10.8.0.5"],
    ["255.255.255.255", "Broadcast", "0 via 255.255.255.255 from 10.7.0.2"],
    ["224.0.0.1", "Multicast", "0 via 224.0.0.1 from 10.7.0.2"],
    ["239.255.255.255", "Multicast", "0 via 239.255.255.255 from 10.7.0.2"],
    ["223.255.255.255", "Other", "0 via 10.7.0.1 from 10.7.0.2"],
    ["240.0.0.0", "Martian", "none"],
    ["255.255.255.254", "Martian", "none"],
    ["127.0.0.1", "Martian", "none"],
    ["128.0.0.0", "Other", "0 via 10.7.0.1 from 10.7.0.2"],
    ["0.0.0.0", "Martian", "none"],
    ["0.255.255.255", "Martian", "none"],
    ["1.0.0.0", "Other", "0 via 10.7.0.1 from 10.7.0.2"],
  ];
  for (const [address, expectedKind, expectedWay] of cases) {
    expect([kind(table, address), way(table, address)], address).toEqual([expectedKind, expectedWay]);
    expect(table.isOurs(parseIpv4(address)!)).toBe(expectedKind === "Ours");
  }
});

test("an empty table owns nothing and leads nowhere", () => {
  const table = new RouteTable({});
  expect([kind(table, "10.0.0.1"), way(table, "10.0.0.1")]).toEqual(["Other", "none"]);
  expect(way(table, "255.255.255.255")).toBe("none");
  expect(way(table, "224.0.0.1")).toBe("none");
});

test("an own subnet beats its own interface's equal network, except where a longer route says otherwise", () => {
  const table = new RouteTable({
    addresses: [{ address: "10.7.0.1/24" }],
    subnets: ["10.7.0.0/24"],
    routes: [{ destination: "10.7.0.254/32" }],
  });
  expect(kind(table, "10.7.0.99")).toBe("Ours");
  expect(kind(table, "10.7.0.255")).toBe("Broadcast");
  expect(way(table, "10.7.0.254")).toBe("0 via 10.7.0.254 from 10.7.0.1");
});

test("/31 and /32 have no broadcast address, and 127.0.0.1 may be ours", () => {
  const table = new RouteTable({
    addresses: [{ address: "10.0.0.0/31" }, { address: "10.0.1.255" }, { address: "127.0.0.1/8" }],
  });
  expect(kind(table, "10.0.0.0")).toBe("Ours");
  expect(way(table, "10.0.0.1")).toBe("0 via 10.0.0.1 from 10.0.0.0");
  expect(kind(table, "10.0.1.255")).toBe("Ours");
  expect(way(table, "10.0.1.254")).toBe("none");
  expect(way(table, "127.0.0.1")).toBe(`${INTERFACE_LOCAL} via 127.0.0.1 from 127.0.0.1`);
  expect(kind(table, "127.0.0.2")).toBe("Martian");
  expect(kind(table, "127.255.255.255")).toBe("Martian");
});

test("the whole world can be ours", () => {
  const table = new RouteTable({ subnets: ["0.0.0.0/0"], routes: [{ destination: "10.0.0.0/8" }] });
  expect(kind(table, "9.255.255.255")).toBe("Ours");
  expect(kind(table, "223.0.0.1")).toBe("Ours");
  expect(way(table, "10.1.1.1")).toBe("0 via 10.1.1.1 from 0.0.0.0");
  expect(kind(table, "224.0.0.1")).toBe("Multicast");
});

test("random tables agree with a search for the longest prefix", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const prng = new Prng(seed);
    const bases = [0x0a000000, 0x0a000100, 0x0a010000, 0x01000000, 0x7eff_ff00, -0x8000_0000, -0x2000_0100];
    const prefix = () => {
      const length = prng.pick([0, 1, 8, 9, 16, 24, 25, 30, 31, 32]);
      return `${formatIpv4((prng.pick(bases) | prng.below(512)) & maskOf(length))}/${length}`;
    };
    const subnets = [...new Set(Array.from({ length: prng.below(6) }, prefix))];
    const routes = [...new Set(Array.from({ length: prng.below(12) }, prefix))].map((
      destination,
    ): RouteSpec => ({
      destination,
      interface: prng.below(4),
    }));
    let table: RouteTable;
    try {
      table = new RouteTable({ subnets, routes }, 4);
    } catch (error) {
      if (error instanceof RouteError && /holds no hosts/.test(error.message)) continue;
      throw error;
    }
    const fixed = ["0.0.0.0/8", "127.0.0.0/8", "240.0.0.0/4", "224.0.0.0/4", "255.255.255.255/32"];
    const all = [
      ...subnets.map((text) => ({ text, answer: "ours" })),
      ...routes.map(({ destination, interface: at }) => ({ text: destination, answer: `${at}` })),
      ...fixed.map((text) => ({ text, answer: "special" })),
    ].map(({ text, answer }) => ({ ...parsePrefix(text)!, answer }));
    for (let probe = 0; probe < 60; probe++) {
      const near = all[prng.below(all.length)]!;
      const edge = prng.chance(0.5) ? near.address : near.address | ~maskOf(near.prefixLength);
      const address = prng.chance(0.9) ? (edge + prng.between(-1, 1)) | 0 : prng.uint32();
      let best = { prefixLength: -1, answer: "none" };
      for (const entry of all) {
        if (
          isInPrefix(address, entry.address, entry.prefixLength) && entry.prefixLength > best.prefixLength
        ) best = entry;
      }
      const into = { interfaceIndex: 0, nextHop: 0, source: 0 };
      const found = table.classify(address);
      const answer = found === AddressKind.Ours
        ? "ours"
        : found !== AddressKind.Other
        ? "special"
        : table.route(address, into)
        ? `${into.interfaceIndex}`
        : "none";
      expect(answer, `seed ${seed}, address ${formatIpv4(address)}`).toBe(best.answer);
    }
  }
});

test("intervalOf() finds the last start at or below the key", () => {
  const addresses = ["0.0.0.0", "0.0.0.1", "127.255.255.255", "128.0.0.0", "255.255.255.255"];
  const starts = Int32Array.from(addresses, (text) => addressKey(parseIpv4(text)!));
  expect([...starts].sort((a, b) => a - b)).toEqual([...starts]);
  for (
    const [text, at] of [["0.0.0.0", 0], ["0.0.0.2", 1], ["128.0.0.1", 3], ["255.255.255.255", 4]] as const
  ) {
    expect(intervalOf(starts, addressKey(parseIpv4(text)!)), text).toBe(at);
  }
  for (let length = 1; length <= 40; length++) {
    const line = Int32Array.from({ length }, (_, i) => i * 2);
    for (let key = 0; key < length * 2 + 2; key++) {
      expect(intervalOf(line, key)).toBe(Math.min(key >> 1, length - 1));
    }
  }
});

test("every mistake is named with its place", () => {
  const near = { address: "10.7.0.2/24" };
  const cases: [config: RouteConfig, path: string, message: string][] = [
    [
      { addresses: [{ address: "10.7.0/24" }] },
      "addresses[0].address",
      'expected an address like "10.7.0.1/24"',
    ],
    [{ addresses: [{ address: "10.7.0.0/24" }] }, "addresses[0].address", "names the network"],
    [{ addresses: [{ address: "10.7.0.255/24" }] }, "addresses[0].address", "names everyone in the network"],
    [{ addresses: [{ address: "224.0.0.1/24" }] }, "addresses[0].address", "is no host's address"],
    [{ addresses: [{ address: "0.0.0.1" }] }, "addresses[0].address", "is no host's address"],
    [{ addresses: [{ ...near, interface: 2 }] }, "addresses[0].interface", "No interface 2, expected 0 to 1"],
    [{ addresses: [{ ...near, interface: -1 }] }, "addresses[0].interface", "No interface -1"],
    [
      { addresses: [near, { address: "10.7.0.2/16" }] },
      "addresses[1]",
      "10.7.0.2/32 again, first in addresses[0]",
    ],
    [
      { addresses: [{ ...near, gateway: "10.7.1.1" }] },
      "addresses[0].gateway",
      "10.7.1.1 is no neighbour on interface 0",
    ],
    [{ addresses: [{ ...near, gateway: "10.7.0.2" }] }, "addresses[0].gateway", "is our own address"],
    [{ addresses: [{ ...near, gateway: "here" }] }, "addresses[0].gateway", 'Found "here"'],
    [{ subnets: ["10.7.0.1/24"] }, "subnets[0]", 'expected "10.7.0.0/24" or "10.7.0.1"'],
    [{ subnets: ["10.7.0.0/24", "10.7.0.0/24"] }, "subnets[1]", "again, first in subnets[0]"],
    [{ subnets: ["225.0.0.0/8"] }, "subnets[0]", "holds no hosts"],
    [{ routes: [{ destination: "x" }] }, "routes[0].destination", 'Found "x"'],
    [
      { addresses: [near], routes: [{ destination: "9.0.0.0/8", interface: 1, gateway: "10.7.0.1" }] },
      "routes[0].gateway",
      "no neighbour on interface 1",
    ],
    [{ routes: [{ destination: "9.0.0.0/8", source: "9.9.9.9" }] }, "routes[0].source", "is not ours"],
    [
      { addresses: [{ ...near, gateway: "10.7.0.1" }], routes: [{ destination: "0.0.0.0/0" }] },
      "routes[0]",
      "0.0.0.0/0 again, first in addresses[0]",
    ],
  ];
  for (const [config, path, message] of cases) {
    let error: unknown;
    try {
      new RouteTable(config, 2);
    } catch (thrown) {
      error = thrown;
    }
    expect(error, JSON.stringify(config)).toBeInstanceOf(RouteError);
    expect((error as RouteError).path, JSON.stringify(config)).toBe(path);
    expect((error as RouteError).message).toContain(message);
  }
});

test("as many addresses, subnets and routes as allowed pass, one more does not", () => {
  const lists = (count: number): [string, RouteConfig][] => {
    const texts = Array.from({ length: count }, (_, i) => formatIpv4(0x0a000001 + 2 * i));
    return [
      ["addresses", { addresses: texts.map((address) => ({ address })) }],
      ["subnets", { subnets: texts }],
      ["routes", { routes: texts.map((destination) => ({ destination })) }],
    ];
  };
  for (const [, config] of lists(ROUTES_MAX)) new RouteTable(config);
  for (const [name, config] of lists(ROUTES_MAX + 1)) {
    expect(() => new RouteTable(config)).toThrow(`${name}: ${ROUTES_MAX + 1}, expected at most`);
  }
});

test("what is no configuration at all is refused with its place", () => {
  for (
    const [config, message] of [
      [{ addresses: {} }, "addresses: Found {}, expected a list"],
      [{ routes: [null] }, "routes[0]: Found null, expected an object"],
      [
        { addresses: [{ address: "10.0.0.1" }, {}] },
        "addresses[1].address: Found undefined, expected a string",
      ],
      [{ subnets: [10] }, "subnets[0]: Found 10, expected a string"],
      [
        { routes: [{ destination: "10.0.0.0/8", gateway: 1 }] },
        "routes[0].gateway: Found 1, expected a string",
      ],
    ] as const
  ) {
    expect(() => new RouteTable(config as unknown as RouteConfig)).toThrow(`Cannot make routes: ${message}`);
  }
});
