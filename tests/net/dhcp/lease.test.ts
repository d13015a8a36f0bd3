import { expect, test } from "vitest";
import { type DhcpLease, leaseOf } from "../../../net/dhcp/lease.ts";
import { DhcpOption, DhcpType, readDhcp, writeDhcp } from "../../../net/dhcp/message.ts";
import { takeLeases, withLeases } from "../../../net/socket/leased_routes.ts";
import { RouteTable } from "../../../net/ip/routes.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";

const ip = (text: string): number[] => text.split(".").map(Number);

function message(options: [number, number[]][], yourAddress = "10.0.0.50") {
  return {
    type: DhcpType.Ack,
    transaction: 7,
    seconds: 0,
    broadcast: false,
    clientAddress: 0,
    yourAddress: parseIpv4(yourAddress)!,
    hardwareAddress: Uint8Array.of(2, 0, 0, 0, 0, 7),
    options: new Map(options.map(([code, value]) => [code, Uint8Array.from(value)])),
  };
}

const NEEDED: [number, number[]][] = [
  [DhcpOption.ServerIdentifier, ip("10.0.0.1")],
  [DhcpOption.LeaseTime, [0, 0, 1, 0]],
];
const lease = (options: [number, number[]][], address?: string): DhcpLease =>
  leaseOf(message([...NEEDED, ...options], address), 0)!;

test("options of a lease (RFC 2132)", () => {
  expect(lease([
    [DhcpOption.SubnetMask, ip("255.255.240.0")],
    [DhcpOption.Router, [...ip("10.0.0.1"), ...ip("0.0.0.0"), ...ip("10.0.0.2")]],
    [DhcpOption.DomainNameServer, [...ip("10.0.0.3"), ...ip("9.9.9.9"), 1, 2]],
    [DhcpOption.DomainName, [...new TextEncoder().encode("example.test\0")]],
    [DhcpOption.InterfaceMtu, [5, 0x78]],
    [DhcpOption.RenewalTime, [0, 0, 0, 50]],
    [DhcpOption.RebindingTime, [0, 0, 0, 100]],
  ])).toEqual({
    address: "10.0.0.50",
    prefixLength: 20,
    server: "10.0.0.1",
    routers: ["10.0.0.1", "10.0.0.2"],
    routes: [{ destination: "0.0.0.0/0", gateway: "10.0.0.1" }],
    nameServers: ["10.0.0.3", "9.9.9.9"],
    domain: "example.test",
    mtu: 1400,
    renewAtMs: 50_000,
    rebindAtMs: 100_000,
    expiresAtMs: 256_000,
  });
});

test("values that make no sense have their defaults", () => {
  const odd = lease([
    [DhcpOption.SubnetMask, ip("255.0.255.0")],
    [DhcpOption.InterfaceMtu, [2, 0x3f]], // 575
    [DhcpOption.DomainName, [0x20, 0x0a]],
    [DhcpOption.RenewalTime, [0, 0, 2, 0]], // later than the end
    [DhcpOption.RebindingTime, [0, 0, 2, 0]],
  ]);
  expect([odd.prefixLength, odd.mtu, odd.domain, odd.renewAtMs, odd.rebindAtMs]).toEqual([
    8,
    undefined,
    undefined,
    128_000,
    224_000,
  ]);
  expect(lease([[DhcpOption.InterfaceMtu, [2, 0x40]]]).mtu).toBe(576);
  expect([lease([], "172.16.0.1").prefixLength, lease([], "192.168.0.1").prefixLength]).toEqual([16, 24]);
  const forever = lease([[DhcpOption.LeaseTime, [255, 255, 255, 255]]]);
  expect([forever.renewAtMs, forever.rebindAtMs, forever.expiresAtMs]).toEqual([null, null, null]);
  expect(lease([[DhcpOption.LeaseTime, [0, 0, 0, 1]]]).expiresAtMs).toBe(10_000);
  expect(leaseOf(message(NEEDED.slice(1)), 0)).toBeUndefined();
  expect(leaseOf(message(NEEDED.slice(0, 1)), 0)).toBeUndefined();
});

test("classless routes take the routers' place (RFC 3442)", () => {
  const given = lease([
    [DhcpOption.Router, ip("10.0.0.1")],
    [DhcpOption.ClasslessRoutes, [
      ...[0, ...ip("10.0.0.9")],
      ...[24, 192, 168, 7, ...ip("10.0.0.8")],
      ...[17, 10, 27, 129, ...ip("0.0.0.0")],
      ...[32, ...ip("10.9.9.9"), ...ip("10.0.0.7")],
    ]],
  ]);
  expect(given.routes).toEqual([
    { destination: "0.0.0.0/0", gateway: "10.0.0.9" },
    { destination: "192.168.7.0/24", gateway: "10.0.0.8" },
    { destination: "10.27.128.0/17" },
    { destination: "10.9.9.9/32", gateway: "10.0.0.7" },
  ]);
  const cut = lease([[DhcpOption.Router, ip("10.0.0.1")], [DhcpOption.ClasslessRoutes, [24, 1, 2]]]);
  expect(cut.routes).toEqual([{ destination: "0.0.0.0/0", gateway: "10.0.0.1" }]);
});

test("long options in parts, and options in the fields of names, are read (RFC 3396, RFC 2132 section 9.3)", () => {
  const long = Array.from({ length: 600 }, (_, at) => at & 255);
  const bytes = writeDhcp(message([[DhcpOption.ClasslessRoutes, long], [DhcpOption.Overload, [3]]]), true);
  bytes.set([DhcpOption.Router, 4, ...ip("10.0.0.1"), 255], 108);
  bytes.set([DhcpOption.DomainNameServer, 4, ...ip("10.0.0.2"), 255], 44);
  const read = readDhcp(bytes)!;
  expect([...read.options.get(DhcpOption.ClasslessRoutes)!]).toEqual(long);
  expect([...read.options.get(DhcpOption.Router)!]).toEqual(ip("10.0.0.1"));
  expect([...read.options.get(DhcpOption.DomainNameServer)!]).toEqual(ip("10.0.0.2"));
  for (let end = 0; end < 240; end++) expect(readDhcp(bytes.subarray(0, end))).toBeUndefined();
  expect(readDhcp(writeDhcp(message([]), false))).toBeUndefined();
});

test("leases join what was configured by hand, which wins; a far router is on the link; nonsense is left out", () => {
  const own = { addresses: [{ address: "10.1.0.1/24", interface: 1, gateway: "10.1.0.9" }] };
  const one = {
    ...lease([[DhcpOption.SubnetMask, ip("255.255.255.255")]]),
    routes: [
      { destination: "0.0.0.0/0", gateway: "10.0.0.1" },
      { destination: "10.9.0.0/16", gateway: "10.0.0.1" },
    ],
  };
  expect(withLeases(own, new Map([[0, one]]))).toEqual({
    addresses: [...own.addresses, { address: "10.0.0.50/32", interface: 0 }],
    routes: [
      { destination: "10.0.0.1/32", interface: 0 },
      { destination: "10.9.0.0/16", interface: 0, source: "10.0.0.50", gateway: "10.0.0.1" },
    ],
  });
  const silly = {
    ...one,
    routes: [{ destination: "239.0.0.0/8" }, { destination: "10.9.0.0/16", gateway: "10.0.0.50" }],
  };
  let table: RouteTable | undefined;
  const left = takeLeases({}, new Map([[0, silly]]), (config) => void (table = new RouteTable(config)));
  expect(left.map(({ destination }) => destination)).toEqual(["239.0.0.0/8", "10.9.0.0/16"]);
  expect(table!.isOurs(parseIpv4("10.0.0.50")!)).toBe(true);
});
