import { assert } from "../../../base/assert.ts";
import { UsageError } from "../../../cli/command.ts";
import { ControlError } from "../../../checkpoint/control/control_error.ts";
import { locationText, parseLocation } from "../../../checkpoint/sockets/stored.ts";
import { parseRequest } from "../../../checkpoint/control/request.ts";
import { parseCondition } from "../../../cli/replay/condition.ts";
import type { Happening } from "../../../cli/replay/happening.ts";
import { Prng } from "../../../base/random.ts";
import { formatTuple, parseTuple } from "../../../net/connections/tuple.ts";
import { Firewall } from "../../../net/firewall/firewall.ts";
import { FirewallPacket } from "../../../net/firewall/packet.ts";
import { FirewallError, type FirewallRules } from "../../../net/firewall/rule.ts";
import { AddressTable } from "../../../net/ip/address_table.ts";
import { type RouteConfig, RouteError } from "../../../net/ip/route_config.ts";
import { RouteTable } from "../../../net/ip/routes.ts";
import { parseFastOpenKeys } from "../../../net/tcp/fast_open.ts";
import { formatIpv4, parseIpv4, parsePrefix } from "../../../net/wire/address.ts";
import { formatIpv6, parseIpv6, parseIpv6Prefix } from "../../../net/wire/ipv6_address.ts";
import { formatMac, parseMac } from "../../../net/wire/mac.ts";
import { INTERFACES, randomPacket, randomRules } from "../../net/firewall/random_rules.ts";
import { parseScript } from "../../packetdrill/parse.ts";
import { ScriptSyntaxError, Unsupported } from "../../packetdrill/script.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

const utf8 = new TextEncoder();

function textOf(input: Uint8Array): string {
  return new TextDecoder().decode(input);
}

/** One text as every kind of address. */
function address(input: Uint8Array): void {
  const text = textOf(input);
  const four = parseIpv4(text);
  if (four !== undefined) assert(formatIpv4(four) === text, "An IPv4 address has one form");
  const six = parseIpv6(text);
  if (six !== undefined) {
    const again = parseIpv6(formatIpv6(...six));
    assert(again !== undefined && again.every((word, at) => word === six[at]), "IPv6 comes back");
    assert(six.every((word) => word === (word | 0)), "Words are int32");
  }
  const prefix = parsePrefix(text);
  if (prefix !== undefined) assert(prefix.prefixLength >= 0 && prefix.prefixLength <= 32, "0 to 32");
  const prefix6 = parseIpv6Prefix(text);
  if (prefix6 !== undefined) assert(prefix6.prefixLength >= 0 && prefix6.prefixLength <= 128, "0 to 128");
  const mac = parseMac(text);
  if (mac !== undefined) {
    assert(
      formatMac(mac.hi, mac.lo) === text.toLowerCase().replaceAll("-", ":"),
      "A station address comes back",
    );
  }
  const table = new AddressTable({ entropy: new Prng(1) });
  table.zoneNames.push("eth0", "tun0");
  const parsed = table.parse(text);
  if (parsed !== undefined) {
    const frozen = table.freeze(parsed);
    assert(table.thaw(frozen) === parsed, "Frozen and thawed it is the same");
    assert(table.parse(table.format(parsed)) === parsed, "Formatted and parsed it is the same");
  }
  const { value: tuple } = orRefuses(TypeError, () => parseTuple(text, table));
  if (tuple === undefined) return;
  const { localAddress, localPort, remoteAddress, remotePort } = tuple;
  assert(
    formatTuple(localAddress, localPort, remoteAddress, remotePort, table) === text,
    "A connection has one name",
  );
}

/** JSON out of the input, or nothing to do. */
function json(input: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(input));
  } catch {
    return undefined;
  }
}

function firewall(input: Uint8Array): void {
  const rules = json(input);
  if (rules === undefined) return;
  const { value: made, error } = orRefuses(
    FirewallError,
    () => new Firewall(rules as FirewallRules, INTERFACES),
  );
  if (made === undefined) {
    assert(error!.path.length > 0 && !/NaN|\[object/.test(error!.message), error!.message);
    return;
  }
  const packet = new FirewallPacket();
  const prng = new Prng(input.length);
  for (let packets = 0; packets < 20; packets++) {
    randomPacket(prng, packet);
    const explained = made.explain(packet);
    assert(
      made.decide(packet) === explained.verdict,
      `decide() and explain() agree on ${JSON.stringify(packet)}`,
    );
    assert(made.lastRule === explained.rule, "And on the rule");
  }
  new Firewall(
    structuredClone(
      made.rules().rules.length < 0 ? { rules: [] } : { rules: made.rules().rules.map(({ rule }) => rule) },
    ),
    INTERFACES,
  );
}

function routes(input: Uint8Array): void {
  const config = json(input);
  if (typeof config !== "object" || config === null) return;
  const table = new AddressTable({ entropy: new Prng(1) });
  const { value: made } = orRefuses(RouteError, () => new RouteTable(config as RouteConfig, 2, table));
  if (made === undefined) return;
  const route = { interfaceIndex: 0, nextHop: 0, source: 0 };
  for (
    const text of [
      "10.0.0.1",
      "10.0.0.255",
      "192.0.2.1",
      "255.255.255.255",
      "127.0.0.1",
      "2001:db8::1",
      "fe80::1",
      "ff02::1",
    ]
  ) {
    const to = table.parse(text)!;
    made.isOurs(to);
    made.classify(to);
    made.route(to, route);
  }
}

function packetdrill(input: Uint8Array): void {
  const text = textOf(input);
  let script;
  try {
    script = parseScript("input.pkt", text);
  } catch (error) {
    if (!(error instanceof ScriptSyntaxError) && !(error instanceof Unsupported)) throw error;
    assert(!/NaN|undefined|\[object/.test(error.message), error.message);
    return;
  }
  for (const { time, line } of script.events) {
    assert(line >= 1 && line <= text.split("\n").length, `Line ${line}`);
    if (time.kind !== "any") assert(Number.isFinite(time.us) && time.us >= 0, `A time of ${time.us}`);
  }
}

/** What may be waited for in a replay, keys of Fast Open, places in a store. */
function setting(input: Uint8Array): void {
  const text = textOf(input);
  const { value: keys } = orRefuses(RangeError, () => parseFastOpenKeys(text));
  if (keys !== undefined) {
    const again = keys.map((key) => Array.from(key, (word) => word.toString(16)).join("-")).join(",");
    assert(
      parseFastOpenKeys(again).every((key, at) => key.every((word, part) => word === keys[at]![part])),
      "Keys come back",
    );
  }
  const location = parseLocation(text);
  if (location !== undefined) {
    assert(Number.isSafeInteger(location) && location >= 0, `A place ${location}`);
    assert(parseLocation(locationText(location)) === location, "A place comes back");
  }
  const { value: holds } = orRefuses(UsageError, () => parseCondition(text));
  for (const kind of ["in", "out", "verdict", "state", "note"] as const) {
    holds?.(
      {
        kind,
        step: 1,
        timeMs: 1,
        text: "IP 10.0.0.1.80 > 10.0.0.2.4000: Flags [S.], length 0",
      } as unknown as Happening,
      0,
    );
  }
}

const SCRIPT = `--mss=1000
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0 bind(3, ..., ...) = 0
+.1 < SEW 0:0(0) win 32792 <mss 1000,sackOK,nop,wscale 7,TS val 100 ecr 0>
* > S. 0:0(0) ack 1 <...>
+0~+.2 < [ect0] P. 1:101(100) ack 1 win 257 urg 3 <sack 1:2 3:4>
+0 %{ assert tcpi_cwnd == 10 }%
+0 < icmp unreachable frag_needed mtu 1000 [1:1001(1000)]
+0...0.1 write(4, ..., 1000) = 1000
`;

/** A line to a control socket. */
function control(input: Uint8Array): void {
  const { value } = orRefuses(ControlError, () => parseRequest(textOf(input)));
  if (value === undefined) return;
  const again = parseRequest(JSON.stringify(value));
  assert(JSON.stringify(again) === JSON.stringify(value), "What was understood is understood again");
  assert(!("id" in value) || typeof value.id === "string", "A name is text");
}

export const targets: readonly Target[] = [
  {
    name: "text/control",
    about: "what a control socket is asked: refused with a typed error, or the same when asked again",
    run: control,
    bytesMax: 300,
    seeds: () =>
      [
        '{"do":"status"}',
        '{"do":"ls","port":7,"from":"10.0.0.2","state":"asleep"}',
        '{"do":"inspect","id":"10.7.0.1:80-10.9.0.4:51312"}',
        '{"do":"capture","keys":true,"port":443}',
      ].map((text) => utf8.encode(text)),
    dictionary: ['"do"', '"suspend"', '"restore"', '"id"', '"__proto__"', "null", "[]", "1e9", "-1"],
  },
  {
    name: "text/address",
    about:
      "IPv4, IPv6, prefixes, station addresses, connections' names: refused, or the same again when formatted",
    run: address,
    bytesMax: 120,
    seeds: () =>
      [
        "10.0.0.1",
        "10.0.0.0/8",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "fe80::1%0",
        "2001:db8::/32",
        "02:00:00:00:00:2a",
        "10.7.0.1:80-10.9.0.4:51312",
        "[2001:db8::1]:80-[fe80::2%0]:9",
      ].map((text) => utf8.encode(text)),
    dictionary: ["::", "255", "0x", "%0", "/32", "ffff:", ".", ":", "[", "]:", "-"],
    allocationMax: () => 1 << 22,
  },
  {
    name: "text/firewall",
    about: "firewall rules as JSON: refused with a path, or decided as the slow twin explains",
    run: firewall,
    seeds: () => [3, 5, 8].map((count) => utf8.encode(JSON.stringify(randomRules(new Prng(count), count)))),
    bytesMax: 1_500,
    dictionary: [
      '"source"',
      '"destination"',
      '"sourcePort"',
      '"icmpType"',
      '"state"',
      '"interface"',
      '"action"',
      '"comment"',
      '"policy"',
      "null",
      "[]",
      "{}",
      "1e9",
      "-1",
      '"10.0.0.0/8"',
      '"1-2"',
      '"accept"',
      '"__proto__"',
    ],
    allocationMax: () => 1 << 26,
  },
  {
    name: "text/routes",
    about: "addresses and routes as JSON: refused with a typed error, or a table that answers",
    run: routes,
    seeds: () =>
      [
        {
          addresses: [{ address: "10.0.0.1/24", gateway: "10.0.0.254" }, {
            address: "2001:db8::1/64",
            interface: 1,
          }],
        },
        {
          addresses: [{ address: "10.0.0.1" }],
          subnets: ["10.9.0.0/16"],
          routes: [{ destination: "192.0.2.0/24", gateway: "10.0.0.2", interface: 0, source: "10.0.0.1" }],
        },
      ].map((config) => utf8.encode(JSON.stringify(config))),
    dictionary: [
      '"addresses"',
      '"subnets"',
      '"routes"',
      '"destination"',
      '"gateway"',
      '"interface"',
      '"source"',
      "null",
      "[]",
      "{}",
      "-1",
      "1e9",
      '"::/0"',
      '"0.0.0.0/0"',
      '"fe80::1%0"',
    ],
    allocationMax: () => 1 << 22,
  },
  {
    name: "text/setting",
    about:
      "Fast Open keys, places in a store, what a replay waits for: refused, the same again, a condition that answers",
    run: setting,
    bytesMax: 120,
    seeds: () =>
      [
        "0123abcd-4567-89ab-cdef,1-2-3-4",
        "step 3",
        "time 1.5",
        "packet in tcp syn port 80 host 10.0.0.1 length 9",
        "drop TcpChecksum",
        "state 10.0.0.1:7-10.0.0.2:4000 asleep",
        "note x",
        "7:4096",
        "9999999:9999999999999999",
      ].map((text) => utf8.encode(text)),
    dictionary: [
      "step ",
      "time ",
      "packet ",
      "drop ",
      "state ",
      "note ",
      "port ",
      "host ",
      "length ",
      "NaN",
      "1e9",
      "-",
    ],
  },
  {
    name: "text/packetdrill",
    about: "packetdrill scripts: a syntax error with its line, or events with times",
    run: packetdrill,
    seeds: () => [utf8.encode(SCRIPT), ...SCRIPT.split("\n").slice(1).map((line) => utf8.encode(line))],
    dictionary: [
      "TS val",
      "ecr",
      "sack",
      "mss",
      "wscale",
      "win",
      "ack",
      "urg",
      "...",
      "icmp",
      "%{",
      "}%",
      "`",
      "--define=",
      "<",
      ">",
      "[ect0]",
      "//",
      "/*",
      "#",
      "AccECN",
      "FO ",
    ],
    allocationMax: () => 1 << 22,
  },
];
