import { Buffer } from "node:buffer";
import packet from "dns-packet";
import { expect, test } from "vitest";
import type { DnsOptions } from "../../../../net/socket/dns/resolver.ts";
import { CLIENT, readAll, refusal, SERVER, settled, virtualPair } from "../world.ts";
import { DnsServer } from "./server.ts";

const NXDOMAIN = 3;
const SERVFAIL = 2;
const FORMERR = 1;

function world(answer: DnsServer["answer"], dns: DnsOptions = {}) {
  const pair = virtualPair({}, { dns: { nameServers: [SERVER], ...dns } }, { medium: "ip" });
  return { ...pair, dns: new DnsServer(pair.server, answer) };
}

const a = (name: string, data: string, ttl = 60): packet.Answer => ({ type: "A", name, data, ttl });
const cname = (name: string, data: string, ttl = 60): packet.Answer => ({ type: "CNAME", name, data, ttl });
const soa = (minimum: number, ttl = 600): packet.Answer => ({
  type: "SOA",
  name: "test",
  ttl,
  data: { mname: "ns.test", rname: "admin.test", serial: 1, refresh: 2, retry: 3, expire: 4, minimum },
});

test("records have Deno's shapes", async () => {
  const data: Record<string, packet.Answer[]> = {
    A: [a("x.test", "192.0.2.1"), a("x.test", "192.0.2.2")],
    AAAA: [{ type: "AAAA", name: "x.test", data: "2001:db8::1" }],
    CAA: [{ type: "CAA", name: "x.test", data: { flags: 128, tag: "issue", value: "ca.test" } }],
    CNAME: [cname("x.test", "y.test")],
    MX: [{ type: "MX", name: "x.test", data: { preference: 10, exchange: "mail.test" } }],
    NAPTR: [{
      type: "NAPTR",
      name: "x.test",
      data: { order: 1, preference: 2, flags: "S", services: "SIP+D2U", regexp: "", replacement: "sip.test" },
    }],
    NS: [{ type: "NS", name: "x.test", data: "ns.test" }],
    PTR: [{ type: "PTR", name: "x.test", data: "host.test" }],
    SOA: [{ ...soa(5), name: "x.test" }],
    SRV: [{ type: "SRV", name: "x.test", data: { priority: 1, weight: 2, port: 3, target: "srv.test" } }],
    TXT: [{ type: "TXT", name: "x.test", data: ["one", "two"] }],
  };
  const { client, clock } = world((_, type) => ({ answers: data[type]! }));
  const ask = (type: "A"): Promise<unknown[]> => settled(clock, client.resolveDns("x.test", type));
  const all: [string, unknown][] = [];
  for (const type of Object.keys(data)) all.push([type, await ask(type as "A")]);
  expect(Object.fromEntries(all)).toEqual({
    A: ["192.0.2.1", "192.0.2.2"],
    AAAA: ["2001:db8::1"],
    CAA: [{ critical: true, tag: "issue", value: "ca.test" }],
    CNAME: ["y.test."],
    MX: [{ preference: 10, exchange: "mail.test." }],
    NAPTR: [{
      order: 1,
      preference: 2,
      flags: "S",
      services: "SIP+D2U",
      regexp: "",
      replacement: "sip.test.",
    }],
    NS: ["ns.test."],
    PTR: ["host.test."],
    SOA: [{
      mname: "ns.test.",
      rname: "admin.test.",
      serial: 1,
      refresh: 2,
      retry: 3,
      expire: 4,
      minimum: 5,
    }],
    SRV: [{ priority: 1, weight: 2, port: 3, target: "srv.test." }],
    TXT: [["one", "two"]],
  });
});

test("identifiers, ports and letters' case differ from question to question (RFC 5452)", async () => {
  const seen: packet.Packet[] = [];
  const { client, clock, server } = world((name, _type, _transport, query) => {
    seen.push(query);
    return { answers: [a(name, "192.0.2.1", 0)] };
  });
  const ports = new Set<number>();
  const receive = server.stack.receive.bind(server.stack);
  server.stack.receive = (index, slab, start, end, nowMs) => {
    if (slab.bytes[start + 9] === 17) ports.add(slab.view.getUint16(start + 20));
    return receive(index, slab, start, end, nowMs);
  };
  for (let count = 0; count < 20; count++) await settled(clock, client.resolveDns("www.example.test"));
  expect(new Set(seen.map(({ id }) => id)).size).toBe(20);
  expect(ports.size).toBe(20);
  expect(new Set(seen.map(({ questions }) => questions![0]!.name)).size).toBeGreaterThan(15);
});

test("answers are remembered as long as they live, and asked for once when many want them", async () => {
  const { client, clock, dns } = world((name) => ({ answers: [a(name, "192.0.2.1", 60)] }));
  await settled(clock, Promise.all([1, 2, 3].map(() => client.resolveDns("x.test"))));
  await clock.advance(59_000);
  await settled(clock, client.resolveDns("X.test."));
  expect(dns.asked.length).toBe(1);
  await clock.advance(1_000);
  await settled(clock, client.resolveDns("x.test"));
  expect(dns.asked.length).toBe(2);
  await settled(clock, client.resolveDns("x.test", "A", { nameServer: { ipAddr: SERVER } })); // another one's answer
  expect(dns.asked.length).toBe(3);
});

test("that there is no name, or no such record, is remembered as long as the zone says (RFC 2308)", async () => {
  const { client, clock, dns } = world((name, type) =>
    name === "none.test"
      ? { rcode: NXDOMAIN, authorities: [soa(100)] }
      : type === "A"
      ? { authorities: [soa(50)] }
      : {}
  );
  const ask = (name: string, type: "A" | "MX" = "A"): Promise<string> =>
    settled(clock, refusal(client.resolveDns(name, type)));
  expect(await ask("none.test")).toBe('NotFound: Cannot resolve "none.test": there is no such name');
  expect(await ask("some.test")).toBe('NotFound: Cannot resolve "some.test": it has no record of type A');
  await clock.advance(49_000);
  await ask("none.test");
  await ask("some.test");
  expect(dns.asked.length).toBe(2);
  await clock.advance(2_000);
  await ask("none.test");
  await ask("some.test");
  expect(dns.asked.length).toBe(3);
  await ask("some.test", "MX"); // without a SOA it holds for this once
  await ask("some.test", "MX");
  expect(dns.asked.length).toBe(5);
});

test("aliases are followed, in one answer and over several, and not for ever", async () => {
  const { client, clock, dns } = world((name) => {
    if (name === "a.test") {
      return { answers: [cname("a.test", "b.test"), a("c.test", "192.0.2.9"), cname("B.test", "c.test", 5)] };
    }
    if (name === "far.test") return { answers: [cname("far.test", "next.test")] };
    if (name === "next.test") return { answers: [a("next.test", "192.0.2.7")] };
    if (name === "loop.test") {
      return { answers: [cname("loop.test", "loop2.test"), cname("loop2.test", "loop.test")] };
    }
    if (name === "lies.test") {
      return { answers: [a("other.test", "6.6.6.6")], additionals: [a("lies.test", "6.6.6.6")] };
    }
    const at = /^n(\d+)\.test$/.exec(name);
    return at ? { answers: [cname(name, `n${Number(at[1]) + 1}.test`)] } : undefined;
  });
  expect(await settled(clock, client.resolveDns("a.test"))).toEqual(["192.0.2.9"]);
  await clock.advance(5_000); // the shortest life on the way
  await settled(clock, client.resolveDns("a.test"));
  expect(dns.asked.length).toBe(2);
  expect(await settled(clock, client.resolveDns("far.test"))).toEqual(["192.0.2.7"]);
  expect(await settled(clock, refusal(client.resolveDns("loop.test")))).toMatch(/^NotFound: /);
  dns.asked.length = 0;
  expect(await settled(clock, refusal(client.resolveDns("n0.test")))).toMatch(
    /^NotFound: .*more than 8 aliases/,
  );
  expect(dns.asked.length).toBeLessThanOrEqual(9);
  expect(await settled(clock, refusal(client.resolveDns("lies.test")))).toMatch(/no record of type A/);
});

test("a server that is silent, refuses or fails is passed over; only when all do is the caller told", async () => {
  const silent = world((name) => ({ answers: [a(name, "192.0.2.1")] }), {
    nameServers: ["10.0.0.99", SERVER],
    timeoutMs: 1_000,
  });
  const start = silent.clock.nowMs();
  expect(await settled(silent.clock, silent.client.resolveDns("x.test"))).toEqual(["192.0.2.1"]);
  expect(silent.clock.nowMs() - start).toBeGreaterThanOrEqual(1_000);
  const { client, clock, dns } = world(() => ({ rcode: SERVFAIL }), { attempts: 3 });
  expect(await settled(clock, refusal(client.resolveDns("x.test")))).toMatch(/^NotFound: .*says SERVFAIL/);
  expect(dns.asked.length).toBe(3);
  const nobody = virtualPair({}, { dns: { nameServers: [SERVER] } }, { medium: "ip" });
  const began = nobody.clock.nowMs();
  expect(await settled(nobody.clock, refusal(nobody.client.resolveDns("x.test")))).toMatch(
    /^ConnectionRefused: /,
  );
  expect(nobody.clock.nowMs() - began).toBeLessThan(100);
  const lost = world(() => undefined, { timeoutMs: 700 });
  expect(await settled(lost.clock, refusal(lost.client.resolveDns("x.test")))).toMatch(
    /^TimedOut: .*has not answered for 700 ms/,
  );
  const without = virtualPair();
  expect(await refusal(without.client.resolveDns("x.test"))).toMatch(/no name server is known/);
});

test("a truncated answer is asked for again by TCP, and so is one that does not repeat the letters' case", async () => {
  const many = Array.from({ length: 200 }, (_, at) => a("big.test", `192.0.2.${at}`));
  const { client, clock, dns } = world((name, _type, transport) => {
    if (name !== "big.test") return { answers: [a(name, "192.0.2.1")], asked: name };
    return transport === "udp" ? { flags: packet.TRUNCATED_RESPONSE } : { answers: many };
  });
  expect((await settled(clock, client.resolveDns("big.test"))).length).toBe(200);
  expect(dns.asked).toEqual(["udp A big.test", "tcp A big.test"]);
  dns.asked.length = 0;
  await settled(clock, client.resolveDns("lower-case-letters.test"));
  expect(dns.asked).toEqual(["udp A lower-case-letters.test", "tcp A lower-case-letters.test"]);
});

test("a server that does not know EDNS is asked without it (RFC 6891 section 7)", async () => {
  const { client, clock, dns } = world((name, _type, _transport, query) =>
    (query.additionals?.length ?? 0) > 0 ? { rcode: FORMERR } : { answers: [a(name, "192.0.2.1")] }
  );
  expect(await settled(clock, client.resolveDns("x.test"))).toEqual(["192.0.2.1"]);
  expect(dns.asked.length).toBe(2);
});

test("datagrams that do not fit the question are passed over", async () => {
  const { client, server, clock } = virtualPair({}, { dns: { nameServers: [SERVER] } }, { medium: "ip" });
  const socket = server.listenDatagram({ port: 53 });
  void (async () => {
    for await (const [bytes, from] of socket) {
      const query = packet.decode(Buffer.from(bytes));
      const answer = (id: number, name: string, type: "response" | "query" = "response"): Uint8Array =>
        Uint8Array.from(packet.encode({
          type,
          id,
          questions: [{ name, type: "A", class: "IN" }],
          answers: [a(name, id === query.id ? "192.0.2.1" : "6.6.6.6")],
        }));
      const { name } = query.questions![0]!;
      await socket.send(answer(query.id! ^ 1, name), from);
      await socket.send(answer(query.id!, "other.test"), from);
      await socket.send(answer(query.id!, name, "query"), from);
      await socket.send(Uint8Array.of(1, 2, 3), from);
      await socket.send(answer(query.id!, name).subarray(0, 40), from);
      await socket.send(answer(query.id!, name), from);
    }
  })();
  expect(await settled(clock, client.resolveDns("x.test"))).toEqual(["192.0.2.1"]);
});

test("a signal ends the waiting, and a closed host all of it", async () => {
  const { client, clock, dns } = world((name) =>
    name === "slow.test" ? undefined : { answers: [a(name, "192.0.2.1")] }
  );
  const controller = new AbortController();
  const impatient = refusal(client.resolveDns("slow.test", "A", { signal: controller.signal }));
  await clock.advance(10);
  controller.abort(new Error("enough"));
  expect(await impatient).toBe("Error: enough");
  expect(await refusal(client.resolveDns("x.test", "A", { signal: AbortSignal.abort(new Error("no")) })))
    .toBe("Error: no");
  expect(dns.asked).toEqual(["udp A slow.test"]);
  const waiting = refusal(client.resolveDns("slow.test"));
  await clock.advance(10);
  client.close();
  expect(await waiting).toBe("Interrupted: operation canceled");
  expect(await refusal(client.resolveDns("x.test"))).toBe("BadResource: Host has been closed");
});

test("short names are looked for in the search domains first, others last; a dot at the end means neither", async () => {
  const { client, clock, dns } = world(
    (name) =>
      name === "www.one.test" || name === "a.b" ? { answers: [a(name, "192.0.2.1")] } : { rcode: NXDOMAIN },
    {
      search: ["none.test", "One.test."],
    },
  );
  await settled(clock, client.resolveDns("www"));
  await settled(clock, client.resolveDns("a.b"));
  expect(dns.asked).toEqual(["udp A www.none.test", "udp A www.one.test", "udp A a.b"]);
  dns.asked.length = 0;
  expect(await settled(clock, refusal(client.resolveDns("www.")))).toMatch(/^NotFound/);
  expect(dns.asked).toEqual(["udp A www"]);
});

test("the table of hosts comes before every server; addresses have pointers; names are checked", async () => {
  const { client, clock, dns } = world((name) => ({ answers: [{ type: "PTR", name, data: "host.test" }] }), {
    hosts: { "printer.test": ["10.0.0.9", "2001:db8::9"], localhost: SERVER },
  });
  expect(await client.resolveDns("Printer.test", "A")).toEqual(["10.0.0.9"]);
  expect(await client.resolveDns("printer.test.", "AAAA")).toEqual(["2001:db8::9"]);
  expect(dns.asked).toEqual([]);
  await settled(clock, client.resolveDns("192.0.2.7", "PTR"));
  await settled(clock, client.resolveDns("2001:db8::1", "PTR"));
  expect(dns.asked).toEqual([
    "udp PTR 7.2.0.192.in-addr.arpa",
    "udp PTR 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
  ]);
  dns.asked.length = 0;
  await settled(clock, client.resolveDns("bücher.test", "PTR"));
  expect(dns.asked).toEqual(["udp PTR xn--bcher-kva.test"]);
  const long = `${"a".repeat(63)}.`;
  for (
    const name of [
      "",
      "..",
      "a..b",
      "a b.test",
      `${"a".repeat(64)}.test`,
      long.repeat(4),
      "1.2.3.400",
      "a\\.b",
    ]
  ) {
    expect([name, await refusal(client.resolveDns(name))]).toEqual([name, `TypeError: "${name}" is no name`]);
  }
  expect(await refusal(client.resolveDns("x.test", "ANAME" as "A"))).toMatch(/^TypeError: .*"ANAME"/);
  expect(await refusal(() => virtualPair({}, { dns: { hosts: { x: "nowhere" } } }))).toMatch(
    /^TypeError: .*"nowhere"/,
  );
});

test("connect and connectDatagram take names; the first address that answers is taken (RFC 8305)", async () => {
  const { client, server, clock, dns } = world((name, type) =>
    type !== "A" ? {} : { answers: ["10.0.0.77", SERVER].map((address) => a(name, address)) }
  );
  const listener = server.listen({ port: 80 });
  const start = clock.nowMs();
  const conn = await settled(clock, client.connect({ hostname: "www.test", port: 80 }));
  expect(conn.remoteAddr.hostname).toBe(SERVER);
  expect(clock.nowMs() - start).toBeLessThan(1_000); // 10.0.0.77 does not answer, and has 250 ms of head start
  const accepted = await settled(clock, listener.accept());
  accepted.close();
  expect((await settled(clock, readAll(conn))).length).toBe(0);
  conn.close();
  expect(dns.asked.sort()).toEqual(["udp A www.test", "udp AAAA www.test"]);
  const refused = refusal(
    client.connect({ hostname: "www.test", port: 81, signal: AbortSignal.timeout(60_000) }),
  );
  await clock.advance(600_000);
  expect(await refused).toMatch(
    /^(TimedOut|ConnectionRefused|HostUnreachable): Cannot connect to 10\.0\.0\.(77|1):81/,
  );
  expect(await refusal(client.connect({ hostname: "localhost", port: 80 }))).toMatch(
    /^TypeError: "localhost"/,
  );
  const datagrams = await settled(clock, client.connectDatagram({ hostname: "www.test", port: 53 }));
  expect(datagrams.addr.hostname).toBe(CLIENT);
});
