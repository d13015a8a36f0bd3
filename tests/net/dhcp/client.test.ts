import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { DhcpClient, type DhcpClientOptions, DhcpState } from "../../../net/dhcp/client.ts";
import type { DhcpLease } from "../../../net/dhcp/lease.ts";
import { type DhcpMessage, DhcpOption, DhcpType, readDhcp, writeDhcp } from "../../../net/dhcp/message.ts";
import { formatIpv4, parseIpv4 } from "../../../net/wire/address.ts";

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 7);
const TYPE_NAMES = ["", "discover", "offer", "request", "decline", "ack", "nak", "release"];
const START_MS = 1_000_000;

const ip = (text: string): number[] => text.split(".").map(Number);
const seconds = (count: number): number[] => [0, 0, count >> 8, count & 255];

/** A client and the server that the test plays. */
class World {
  nowMs = START_MS;
  readonly sent: { text: string; message: DhcpMessage; to: string }[] = [];
  readonly news: string[] = [];
  readonly client: DhcpClient;

  constructor(options: Partial<DhcpClientOptions> = {}, seed = 1) {
    const prng = new Prng(seed);
    this.client = new DhcpClient({ hardwareAddress: MAC, ...options }, {
      send: (bytes, source, server) => {
        expect(bytes.length).toBeGreaterThanOrEqual(300); // RFC 1542 section 2.1
        const message = readDhcp(bytes, false)!;
        const to = `${formatIpv4(source)}>${server === 0 ? "all" : formatIpv4(server)}`;
        this.sent.push({ text: `${this.nowMs - START_MS} ${TYPE_NAMES[message.type]} ${to}`, message, to });
      },
      probe: (address) => void this.news.push(`${this.nowMs - START_MS} probe ${formatIpv4(address)}`),
      bound: ({ address }) => void this.news.push(`${this.nowMs - START_MS} bound ${address}`),
      lost: (why) => void this.news.push(`${this.nowMs - START_MS} lost ${why}`),
    }, (limit) => prng.below(limit));
  }

  /** What has been sent since the last time: when, what, from whom to whom. */
  take(): string[] {
    return this.sent.splice(0).map(({ text }) => text);
  }
  last(): DhcpMessage {
    return this.sent.at(-1)!.message;
  }
  option(option: number): number[] | undefined {
    const value = this.last().options.get(option);
    return value === undefined ? undefined : [...value];
  }
  heard(): string[] {
    return this.news.splice(0);
  }
  start(): this {
    this.client.start(this.nowMs);
    return this;
  }
  wait(ms: number): this {
    const untilMs = this.nowMs + ms;
    for (let turn = 0; turn < 10_000; turn++) {
      const nextMs = this.client.nextDeadlineMs();
      if (nextMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, nextMs);
      this.client.advance(this.nowMs);
    }
    this.nowMs = untilMs;
    return this;
  }
  /** The server answers what was sent last. */
  answer(type: DhcpType, fields: Partial<DhcpMessage> & { more?: [number, number[]][] } = {}): this {
    const options = new Map<number, Uint8Array>();
    const given: [number, number[]][] = type === DhcpType.Nak
      ? [[DhcpOption.ServerIdentifier, ip("10.0.0.1")]]
      : [
        [DhcpOption.ServerIdentifier, ip("10.0.0.1")],
        [DhcpOption.LeaseTime, seconds(1_000)],
        [DhcpOption.SubnetMask, ip("255.255.255.0")],
        [DhcpOption.Router, ip("10.0.0.1")],
      ];
    for (const [code, value] of [...given, ...fields.more ?? []]) options.set(code, Uint8Array.from(value));
    const bytes = writeDhcp({
      type,
      transaction: this.last().transaction,
      seconds: 0,
      broadcast: false,
      clientAddress: 0,
      yourAddress: type === DhcpType.Nak ? 0 : parseIpv4("10.0.0.50")!,
      hardwareAddress: MAC,
      options,
      ...fields,
    }, true);
    this.client.input(bytes, this.nowMs);
    return this;
  }
  /** From nothing to a lease of 1,000 s. */
  bound(): this {
    this.start().answer(DhcpType.Offer).answer(DhcpType.Ack);
    this.sent.length = 1;
    expect(this.heard().at(-1)).toMatch(/bound 10\.0\.0\.50$/);
    return this;
  }
}

test("discover, offer, request, acknowledgment (RFC 2131 section 3.1)", () => {
  const w = new World({ hostName: "torpor" }).start();
  expect([w.last().broadcast, w.last().clientAddress]).toEqual([true, 0]);
  expect(w.option(DhcpOption.ClientIdentifier)).toEqual([1, ...MAC]);
  expect(w.option(DhcpOption.HostName)).toEqual([...new TextEncoder().encode("torpor")]);
  expect(w.option(DhcpOption.ParameterList)!.indexOf(121)).toBeLessThan(
    w.option(DhcpOption.ParameterList)!.indexOf(3),
  );
  const { transaction } = w.last();
  w.answer(DhcpType.Offer);
  expect(w.last().transaction).toBe(transaction);
  expect([w.option(DhcpOption.RequestedAddress), w.option(DhcpOption.ServerIdentifier)]).toEqual([
    ip("10.0.0.50"),
    ip("10.0.0.1"),
  ]);
  w.answer(DhcpType.Ack);
  expect(w.take()).toEqual(["0 discover 0.0.0.0>all", "0 request 0.0.0.0>all"]);
  expect(w.heard()).toEqual(["0 bound 10.0.0.50"]);
  expect(w.client.lease).toEqual({
    address: "10.0.0.50",
    prefixLength: 24,
    server: "10.0.0.1",
    routers: ["10.0.0.1"],
    routes: [{ destination: "0.0.0.0/0", gateway: "10.0.0.1" }],
    nameServers: [],
    renewAtMs: START_MS + 500_000,
    rebindAtMs: START_MS + 875_000,
    expiresAtMs: START_MS + 1_000_000,
  });
});

test("without an answer it asks again after 4, 8, 16, 32 and 64 s, a second more or less (section 4.1)", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const w = new World({}, seed).start().wait(400_000);
    const times = w.take().map((line) => parseInt(line));
    const gaps = times.slice(1).map((time, at) => time - times[at]!);
    [4_000, 8_000, 16_000, 32_000, 64_000, 64_000, 64_000].forEach((meant, at) => {
      expect(Math.abs(gaps[at]! - meant), `gap ${at} of ${gaps}`).toBeLessThanOrEqual(1_000);
    });
  }
});

test("an offer that is not confirmed is forgotten after four requests", () => {
  const w = new World().start().answer(DhcpType.Offer).wait(70_000);
  const types = w.take().map((line) => line.split(" ")[1]);
  expect(types.slice(0, 6)).toEqual(["discover", "request", "request", "request", "request", "discover"]);
});

test("what is not for us, or makes no sense, changes nothing", () => {
  const wrong: [string, Parameters<World["answer"]>[1]][] = [
    ["another transaction", { transaction: 1 }],
    ["another station", { hardwareAddress: Uint8Array.of(2, 0, 0, 0, 0, 8) }],
    ["a longer station", { hardwareAddress: Uint8Array.of(...MAC, 1) }],
    ["no host's address", { yourAddress: parseIpv4("224.0.0.1")! }],
    ["no address", { yourAddress: 0 }],
    ["no lease time", { more: [[DhcpOption.LeaseTime, []]] }],
    ["no server", { more: [[DhcpOption.ServerIdentifier, []]] }],
  ];
  for (const [why, fields] of wrong) {
    const w = new World().start().answer(DhcpType.Offer, fields);
    expect([why, w.client.state]).toEqual([why, DhcpState.Selecting]);
    w.answer(DhcpType.Offer).answer(DhcpType.Ack, fields);
    expect([why, w.client.state]).toEqual([why, DhcpState.Requesting]);
  }
  const w = new World().start().answer(DhcpType.Offer);
  w.answer(DhcpType.Ack, { yourAddress: parseIpv4("10.0.0.51")! }); // not what was asked for
  expect(w.client.state).toBe(DhcpState.Requesting);
  w.client.input(writeDhcp({ ...w.last(), type: DhcpType.Ack }), w.nowMs); // a client's message
  expect(w.client.state).toBe(DhcpState.Requesting);
});

test("renewing asks its server at half time, rebinding anybody at seven eighths, then the address is lost (section 4.4.5)", () => {
  const w = new World().bound();
  w.sent.length = 0;
  w.wait(1_000_000);
  expect(w.take()).toEqual([
    "500000 request 10.0.0.50>10.0.0.1",
    "687500 request 10.0.0.50>10.0.0.1",
    "781250 request 10.0.0.50>10.0.0.1",
    "841250 request 10.0.0.50>10.0.0.1",
    "875000 request 10.0.0.50>all",
    "937500 request 10.0.0.50>all",
    "997500 request 10.0.0.50>all",
    "1000000 discover 0.0.0.0>all",
  ]);
  expect([w.heard(), w.client.lease]).toEqual([["1000000 lost expired"], undefined]);
});

test("a renewal names the address in ciaddr only, and its acknowledgment starts the times anew (section 4.3.2)", () => {
  const w = new World().bound().wait(500_000);
  expect(w.last().clientAddress).toBe(parseIpv4("10.0.0.50"));
  expect([w.option(DhcpOption.RequestedAddress), w.option(DhcpOption.ServerIdentifier), w.last().broadcast])
    .toEqual(
      [undefined, undefined, false],
    );
  w.answer(DhcpType.Ack);
  expect([w.heard(), w.client.lease!.expiresAtMs]).toEqual([
    ["500000 bound 10.0.0.50"],
    START_MS + 1_500_000,
  ]);
  w.wait(500_000).answer(DhcpType.Ack, { yourAddress: parseIpv4("10.0.0.51")! }); // another one: not for us
  expect([w.client.state, w.heard()]).toEqual([DhcpState.Renewing, []]);
});

test("a refusal ends the lease, and all begins anew a second later (section 3.2)", () => {
  const w = new World().bound().wait(500_000).answer(DhcpType.Nak);
  expect(w.heard()).toEqual(["500000 lost refused"]);
  w.sent.splice(0);
  w.wait(1_000);
  expect(w.take()).toEqual(["501000 discover 0.0.0.0>all"]);
  const requesting = new World().start().answer(DhcpType.Offer).answer(DhcpType.Nak);
  expect([requesting.client.state, requesting.heard()]).toEqual([DhcpState.Waiting, []]);
});

test("a lease of before is asked for first; refused or unanswered, any other (INIT-REBOOT, section 3.2)", () => {
  const lease = new World().bound().client.lease!;
  const again = new World({ lease }).start();
  expect([w(again), again.option(DhcpOption.RequestedAddress), again.option(DhcpOption.ServerIdentifier)])
    .toEqual([
      ["0 request 0.0.0.0>all"],
      ip("10.0.0.50"),
      undefined,
    ]);
  again.answer(DhcpType.Ack);
  expect(again.heard()).toEqual(["0 bound 10.0.0.50"]);
  const refused = new World({ lease }).start().answer(DhcpType.Nak).wait(1_000);
  expect(w(refused)).toEqual(["0 request 0.0.0.0>all", "1000 discover 0.0.0.0>all"]);
  const silent = new World({ lease }).start().wait(20_000);
  expect(w(silent).map((line) => line.split(" ")[1])).toEqual(["request", "request", "discover", "discover"]);
  const expired: DhcpLease = { ...lease, expiresAtMs: START_MS };
  expect(w(new World({ lease: expired }).start())).toEqual(["0 discover 0.0.0.0>all"]);
  function w(world: World): string[] {
    return world.sent.map(({ text }) => text);
  }
});

test("an address that somebody else has is declined, and another asked for 10 s later (sections 3.1, 4.4.4; RFC 5227)", () => {
  const w = new World({ probes: true }).start().answer(DhcpType.Offer).answer(DhcpType.Ack);
  expect(w.heard()).toEqual(["0 probe 10.0.0.50"]);
  w.wait(600);
  w.client.conflict(parseIpv4("10.0.0.99")!, w.nowMs); // not about us
  w.client.conflict(parseIpv4("10.0.0.50")!, w.nowMs);
  expect(w.heard()).toEqual(["500 probe 10.0.0.50"]);
  expect([
    w.option(DhcpOption.RequestedAddress),
    w.option(DhcpOption.ServerIdentifier),
    w.last().clientAddress,
  ]).toEqual(
    [ip("10.0.0.50"), ip("10.0.0.1"), 0],
  );
  w.wait(10_000);
  expect(w.take().slice(2)).toEqual(["600 decline 0.0.0.0>all", "10600 discover 0.0.0.0>all"]);
  const free = new World({ probes: true }).start().answer(DhcpType.Offer).answer(DhcpType.Ack).wait(1_000);
  expect(free.heard()).toEqual(["0 probe 10.0.0.50", "500 probe 10.0.0.50", "1000 bound 10.0.0.50"]);
  free.client.conflict(parseIpv4("10.0.0.50")!, free.nowMs); // found out later
  expect(free.heard()).toEqual(["1000 lost conflict"]);
});

test("a lease is given back to its server alone; stopping says nothing (section 4.4.6)", () => {
  const w = new World().bound();
  w.sent.length = 0;
  w.client.release();
  expect([w.last().clientAddress, w.option(DhcpOption.ServerIdentifier)]).toEqual([
    parseIpv4("10.0.0.50"),
    ip("10.0.0.1"),
  ]);
  expect([w.take(), w.heard(), w.client.nextDeadlineMs()]).toEqual([
    ["0 release 10.0.0.50>10.0.0.1"],
    ["0 lost released"],
    Infinity,
  ]);
  const other = new World().bound();
  other.sent.length = 0;
  other.client.stop();
  expect([other.wait(2_000_000).take(), other.client.lease?.address]).toEqual([[], "10.0.0.50"]);
  const none = new World().start();
  none.client.release();
  expect([none.take().length, none.heard()]).toEqual([1, []]);
});

test("random answers crash nothing, and no lease comes of them", () => {
  const prng = new Prng(8);
  for (let seed = 1; seed <= 300; seed++) {
    const w = new World({ probes: prng.chance(0.5) }, seed).start();
    const good = writeDhcp({ ...w.last(), type: DhcpType.Offer, yourAddress: parseIpv4("10.0.0.50")! }, true);
    for (let count = 0; count < 10; count++) {
      const bytes = good.slice(0, prng.chance(0.3) ? prng.below(good.length) : good.length);
      for (let flips = prng.between(1, 8); flips > 0; flips--) {
        if (bytes.length > 0) {
          bytes[prng.pick([0, 2, prng.below(bytes.length), 236 + prng.below(64)])] = prng.below(256);
        }
      }
      w.client.input(bytes, w.nowMs);
      w.wait(prng.below(5_000));
    }
    expect(w.heard().filter((line) => line.includes("bound"))).toEqual([]);
  }
});
