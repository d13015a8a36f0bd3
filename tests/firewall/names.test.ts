import { addressFor, namesOf } from "../../net/firewall/names/name_sets.ts";
import { refusalOf } from "../../net/firewall/names/refusal.ts";
import type { NamedSet } from "../../net/firewall/nft/schema.ts";
import { connect } from "node:tls";
import { Duplex } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { VirtualClock } from "../../base/clock.ts";
import { Prng } from "../../base/random.ts";
import { printJsonRules } from "../../net/firewall/nft/json/print.ts";
import { readJsonRules } from "../../net/firewall/nft/json/read.ts";
import { printTextRules } from "../../net/firewall/nft/text/print.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { FIRST_BYTES_MAX, type FirstBytes, readFirstBytes } from "../../net/firewall/names/first_bytes.ts";
import { pipe } from "../../net/link/pipe.ts";
import { Host } from "../../net/socket/host.ts";
import { refusal, SERVER, settled, virtualPair, writeAll } from "../net/socket/world.ts";

const utf8 = new TextEncoder();
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const RULES = `table inet egress {
  chain out {
    type filter hook output priority 0; policy drop;
    tcp dport 443 tls sni { api.example.com, *.example.org } counter accept
    tcp dport 80 http host { "api.example.com" } counter accept
    tcp dport { 80, 443 } name pending counter accept
    meta l4proto tcp counter reject with tcp reset comment "only the API"
  }
}`;

/** The ClientHello that Node's TLS sends. */
function clientHello(servername: string): Promise<Uint8Array> {
  return new Promise((resolve) => {
    const socket = new Duplex({
      read() {},
      write: (chunk: Uint8Array, _, done) => {
        resolve(Uint8Array.from(chunk));
        done();
      },
    });
    const tls = connect({ socket, ...servername === "" ? {} : { servername } });
    tls.on("error", () => {});
  });
}

/** The same handshake message in records of at most `size` bytes. */
function inRecords(hello: Uint8Array, size: number): Uint8Array {
  const out: number[] = [];
  for (let at = 5; at < hello.length; at += size) {
    const piece = hello.subarray(at, Math.min(at + size, hello.length));
    out.push(...hello.subarray(0, 3), piece.length >> 8, piece.length & 255, ...piece);
  }
  return Uint8Array.from(out);
}

function read(bytes: Uint8Array): FirstBytes {
  return readFirstBytes(bytes, bytes.length, 0);
}

test("the server name of a ClientHello is found as soon as it is whole, in one record or in many", async () => {
  const hello = await clientHello("API.example.com");
  for (const size of [16_384, 100, 7, 1]) {
    const bytes = inRecords(hello, size);
    expect(read(bytes)).toEqual({ kind: "tls", name: "api.example.com" });
    for (let length = 1; length < bytes.length; length += 1 + (length >> 3)) {
      expect(readFirstBytes(bytes, length, 0)).toEqual({ kind: "pending" });
    }
    expect(readFirstBytes(bytes, bytes.length - 1, 0)).toEqual({ kind: "pending" });
  }
  expect(read(await clientHello(""))).toEqual({ kind: "tls", name: "" });
});

test("a ClientHello that is damaged names nobody else, and never throws", async () => {
  const hello = await clientHello("api.example.com");
  const prng = new Prng(5);
  for (let run = 0; run < 3_000; run++) {
    const bytes = Uint8Array.from(hello);
    for (let flips = 1 + prng.below(3); flips > 0; flips--) bytes[prng.below(bytes.length)] = prng.below(256);
    const found = readFirstBytes(bytes, 1 + prng.below(bytes.length), 0);
    if (found.kind === "tls") expect(found.name).toMatch(/^[a-z0-9_.-]*$/);
  }
});

test("the host of an HTTP request is what a server would take it for, and nobody where two might differ", () => {
  const http = (head: string): FirstBytes => read(utf8.encode(`${head}\r\n\r\nbody`));
  const named = (name: string): FirstBytes => ({ kind: "http", name });
  expect(http("GET / HTTP/1.1\r\nHost: Example.COM:8080\r\nAccept: */*")).toEqual(named("example.com"));
  expect(http("GET / HTTP/1.1\r\nhOST:example.com.\t")).toEqual(named("example.com"));
  expect(http("GET http://a.example/x HTTP/1.1\r\nHost: a.example")).toEqual(named("a.example"));
  expect(http("GET http://a.example/x HTTP/1.1\r\nHost: b.example")).toEqual(named(""));
  expect(http("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443")).toEqual(named("a.example"));
  expect(http("OPTIONS * HTTP/1.1\r\nHost: a.example")).toEqual(named("a.example"));
  for (
    const head of [
      "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example",
      "GET / HTTP/1.1\r\nHost: a.example\r\n b.example",
      "GET / HTTP/1.1\r\nX: y\nHost: b.example\r\nHost: a.example",
      "GET / HTTP/1.1\r\nHost : a.example",
      "GET / HTTP/1.1\r\nHost: user@a.example",
      "GET / HTTP/1.1\r\nHost: [::1]",
      "GET / HTTP/1.1\r\nHost: *.example",
      "GET / HTTP/1.1\r\nHost: a.example\0.b.example",
      "GET / HTTP/1.1\r\nAccept: */*",
      "GET http://user@a.example/ HTTP/1.1",
      "GET  / HTTP/1.1\r\nHost: a.example",
      "GET / HTTP/2.0\r\nHost: a.example",
    ]
  ) expect(http(head), head).toEqual(named(""));
  for (const other of ["SSH-2.0-x\r\n", "get / HTTP/1.1\r\n\r\n", " GET /", "\0"]) {
    expect(read(utf8.encode(other)), other).toEqual({ kind: "none" });
  }
  expect(read(utf8.encode("GET /"))).toEqual({ kind: "pending" });
});

test("names come back from text and from JSON as they were, and are refused at their place", () => {
  const rules = readTextRules(`table inet t { chain c {
    tls sni *.Example.org. accept
    tls sni != { "b.example", a.example } drop
    http host 9p.example accept
    name pending accept
    name missing drop
  }; }`.replace("9p.example", '"9p.example"'));
  const lines = printTextRules(rules).split("\n").map((line) => line.trim());
  expect(lines).toContain('tls sni "*.example.org" accept');
  expect(lines).toContain('tls sni != { "a.example", "b.example" } drop');
  expect(readTextRules(printTextRules(rules))).toMatchObject(
    JSON.parse(JSON.stringify(rules, (key, value) => key === "line" ? undefined : value)),
  );
  const again = readJsonRules(JSON.parse(JSON.stringify(printJsonRules(rules))));
  expect(printTextRules(again)).toBe(printTextRules(rules));
  for (
    const [rule, message] of [
      ["tls sni accept", /one in quotes/],
      ["tls sni a..b accept", /expected a name like/],
      ["tls sni { } accept", /Expected a name/],
      ["tls sni @names accept", /no set holds them/],
      ["http host { 1.2.3.4/8 } accept", /expected "}"/],
      ["name unknown accept", /expected pending or missing/],
      ["tls version 3 accept", /expected "sni"/],
    ] as const
  ) {
    expect(() => readTextRules(`table ip t { chain c { ${rule}; }; }`), rule).toThrow(message);
  }
});

test("who names a host of the rules gets through, everybody else is refused in words that programs show", async () => {
  const firewall = readTextRules(RULES);
  const { server, client, clock } = virtualPair({}, { firewall });
  const heard: string[] = [];
  const requests = new WeakMap<object, number[]>();
  const data = (connection: { write(bytes: Uint8Array): unknown }, bytes: Uint8Array): void => {
    heard.push(text(bytes));
    const request = requests.get(connection) ?? [];
    requests.set(connection, request);
    request.push(...bytes);
    if (read(Uint8Array.from(request)).kind === "pending") return;
    connection.write(utf8.encode("HTTP/1.1 204 No Content\r\n\r\n"));
  };
  for (const port of [80, 443, 8080]) server.serve({ port, data });
  const ask = async (port: number, ...pieces: (string | Uint8Array)[]): Promise<Uint8Array> => {
    const conn = await settled(clock, client.connect({ hostname: SERVER, port }));
    for (const piece of pieces) {
      await settled(clock, writeAll(conn, typeof piece === "string" ? utf8.encode(piece) : piece));
      await clock.advance(50);
    }
    const into = new Uint8Array(500);
    const read = await settled(clock, conn.read(into));
    conn.close();
    return into.subarray(0, read ?? 0);
  };
  expect(text(await ask(80, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"))).toMatch(/^HTTP\/1.1 204/);
  expect(text(await ask(80, "GET / HT", "TP/1.1\r\nHo", "st: api.exam", "ple.com\r\n\r", "\n"))).toMatch(
    / 204 /,
  );
  const hello = await clientHello("api.example.com");
  expect(text(await ask(443, hello.subarray(0, 90), hello.subarray(90)))).toMatch(/ 204 /);
  expect(text(await ask(443, inRecords(await clientHello("x.y.example.org"), 50)))).toMatch(/ 204 /);
  const before = heard.length;

  const refused = text(await ask(80, "GET /secret HTTP/1.1\r\nHost: evil.example\r\n\r\n"));
  expect(refused).toMatch(/^HTTP\/1.1 403 Forbidden\r\n/);
  expect(refused).toMatch(/\r\n\r\nThe firewall refuses evil.example: only the API\n$/);
  expect([...await ask(443, await clientHello("example.org"))]).toEqual([21, 3, 3, 0, 2, 2, 49]);
  expect([...await ask(443, await clientHello(""))]).toEqual([21, 3, 3, 0, 2, 2, 49]);
  expect(await refusal(ask(443, "SSH-2.0-x\r\n"))).toMatch(/^ConnectionReset/);
  expect(await refusal(ask(8080, "x"))).toMatch(/^ConnectionRefused/);
  expect(heard.slice(before).join("")).not.toMatch(/secret|evil|SSH/);
  // What names nobody may pass while it can still become something.
  heard.length = 0;
  expect(await refusal(ask(80, "GET / HTTP/1.1\r\n", `X: ${"y".repeat(FIRST_BYTES_MAX)}`))).toMatch(
    /^ConnectionReset/,
  );
  expect(heard.join("").length).toBeLessThan(FIRST_BYTES_MAX);
});

test("a server that speaks first gets no more through than a client without a name", async () => {
  const { server, client, clock } = virtualPair({}, {
    firewall: readTextRules(`table inet t {
      chain out { type filter hook output priority 0; name pending accept; meta l4proto tcp reject with tcp reset; }
      chain in { type filter hook input priority 0; name pending accept; meta l4proto tcp drop; }
    }`),
  });
  server.serve({
    port: 443,
    open: (connection) => void connection.write(utf8.encode("download")),
    data() {},
  });
  const conn = await settled(clock, client.connect({ hostname: SERVER, port: 443 }));
  let got: number | null = 0;
  const reading = conn.read(new Uint8Array(100)).then((length) => void (got = length), () => {});
  await clock.advance(5_000);
  expect(got).toBe(0);
  client.close();
  await reading;
});

test("nobody says it again in other words, and what is out of order waits to be sent again", async () => {
  const { Slab } = await import("../../base/slab.ts");
  const { FlowNames } = await import("../../net/firewall/names/flow_names.ts");
  const { NftPacket } = await import("../../net/firewall/nft/packet.ts");
  const { CtState } = await import("../../net/firewall/conntrack/state.ts");
  const names = new FlowNames();
  const packet = new NftPacket();
  const say = (
    sequence: number,
    data: string,
    flags = 16,
    acknowledgment = 0,
    direction: 0 | 1 = 0,
  ): boolean => {
    const bytes = utf8.encode(data);
    const slab = Slab.of(40 + bytes.length);
    slab.bytes.set([0x45, 0, 0, slab.bytes.length, 0, 0, 0, 0, 64, 6]);
    slab.view.setInt32(24, sequence);
    slab.view.setInt32(28, acknowledgment);
    slab.view.setUint16(32, 0x5000 | flags);
    slab.bytes.set(bytes, 40);
    packet.moveTo(slab, 0, slab.bytes.length, 0);
    Object.assign(packet.track, { flow: 3, state: CtState.established, direction });
    return names.hear(packet);
  };
  const start = 0x7fff_fff0; // numbers go round in the middle
  expect(say(start - 1, "", 2)).toBe(true);
  expect(names.get(3)!.kind).toBe("pending");
  expect(say(start + 16, "host: b.example\r\n\r\n")).toBe(false);
  expect(say(start, "GET / HTTP/1.1\r\n")).toBe(true);
  expect(say(start - 1, "\0")).toBe(true); // a keep-alive probe
  expect(say(start + 4, "/ HTTP/1.1\r\nHost: a.")).toBe(true);
  expect(say(start + 4, "/ HTTP/1.1\r\nHost: b.example\r\n\r\n")).toBe(false);
  expect(names.get(3)!.kind).toBe("pending");
  expect(say(start + 24, "example\r\n\r\n")).toBe(true);
  expect(names.get(3)).toMatchObject({ kind: "http", name: "a.example" });
  expect(say(start + 16, "Host: b.example\r\n\r\n")).toBe(false);
  expect(say(start + 16, "Host: a.example\r\n\r\n")).toBe(true);
  const frozen = names.freeze(3)!;
  names.thaw(4, frozen);
  expect(names.freeze(4)).toEqual(frozen);
  expect(say(0, "", 16, start + 35, 1)).toBe(true); // the server has it all
  expect(names.freeze(3)!.bytes.length).toBe(0);
  expect(say(start + 35, "more of it")).toBe(true);
  expect(names.get(3)!.name).toBe("a.example");
  names.remove(3);
  expect(names.get(3)).toBe(undefined);
});

test("no more than so many flows are listened to at a time: the oldest loses its name", async () => {
  const { HEARD_MAX } = await import("../../net/firewall/names/flow_names.ts");
  const clock = new VirtualClock();
  const [left, right] = pipe({ clock, delayMs: 1 });
  const firewall = readTextRules(RULES);
  const client = new Host({
    clock,
    entropy: new Prng(1),
    interfaces: [{ link: left }],
    addresses: [{ address: "10.7.0.2/24" }],
    firewall,
  });
  const server = new Host({
    clock,
    entropy: new Prng(2),
    interfaces: [{ link: right }],
    addresses: [{ address: "10.7.0.1/24" }],
  });
  onTestFinished(() => [client, server].forEach((host) => host.close()));
  server.serve({ port: 80, data() {} });
  const conns = [];
  for (let count = 0; count <= HEARD_MAX; count++) {
    const conn = await settled(clock, client.connect({ hostname: "10.7.0.1", port: 80 }));
    await settled(clock, writeAll(conn, utf8.encode("GET ")));
    conns.push(conn);
  }
  await clock.advance(100);
  const { table, names } = client.stack.hooks.conntrack!;
  const kinds = new Map<string, number>();
  for (let flow = 0; flow < table.end; flow++) {
    const kind = names.get(flow)?.kind ?? "none";
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  expect(kinds.get("pending")).toBe(HEARD_MAX);
  expect(kinds.get("none")).toBe(1);
});

test("sets that names cannot fill are refused with what they lack, and addresses are those of the set's family", () => {
  const set = (type: string, more = "flags timeout;", comment = "dns-names: a.example"): NamedSet =>
    readTextRules(`table inet t { set s { type ${type}; ${more} comment "${comment}"; } }`).tables[0]!
      .sets[0]!;
  expect(namesOf(set("ipv4_addr"))).toEqual(["a.example"]);
  expect(namesOf(set("ipv6_addr", "flags timeout;", "dns-names: A.example *.b.example"))).toHaveLength(2);
  expect(namesOf(set("ipv4_addr", "", "something else"))).toBe(undefined);
  const wrong: readonly [NamedSet, RegExp][] = [
    [set("ipv4_addr", "flags timeout;", "dns-names:"), /Expected names behind/],
    [set("ipv4_addr", "flags timeout;", "dns-names: a..b"), /a\.\.b/],
    [set("inet_service"), /sets of ipv4_addr or ipv6_addr/],
    [set("ipv4_addr . inet_service"), /sets of ipv4_addr or ipv6_addr/],
    [set("ipv4_addr", "size 9;"), /answers end/],
  ];
  for (const [each, why] of wrong) expect(() => namesOf(each), `${why}`).toThrow(why);
  expect(["10.0.0.1", "fd00::1", "x"].map((text) => addressFor(text, false))).toEqual([
    "10.0.0.1",
    undefined,
    undefined,
  ]);
  expect(["10.0.0.1", "fd00:0::1", "x"].map((text) => addressFor(text, true))).toEqual([
    undefined,
    "fd00::1",
    undefined,
  ]);
});

test("who is refused by a name is told so in HTTP, as who asked without one; TLS by its alert", () => {
  const said = (kind: "http" | "tls", name: string, comment?: string): string =>
    text(refusalOf({ kind, name }, comment));
  expect([...refusalOf({ kind: "tls", name: "a.example" }, "why")]).toEqual([21, 3, 3, 0, 2, 2, 49]); // access_denied
  expect(refusalOf({ kind: "none", name: "" }, "why")).toHaveLength(0);
  expect(said("http", "a.example", "only the API")).toMatch(
    /^HTTP\/1\.1 403 [^]*refuses a\.example: only the API\n$/,
  );
  expect(said("http", "")).toMatch(/refuses a request without a clear host\n$/);
});
