import { writeFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { globOf } from "../../cli/firewall/glob.ts";
import { readFirewall } from "../../cli/firewall/rules_file.ts";
import { parsePacketText } from "../../cli/firewall/packet_text.ts";
import { Slab } from "../../base/slab.ts";
import { PcapngWriter } from "../../net/link/pcap.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { torpor } from "./run.ts";

const temporary = new TemporaryFolder();
afterAll(() => temporary[Symbol.dispose]());

const RULES = `define LAN = { "lan0", "lan1" }
table inet filter {
  set blocked { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 }; }
  chain input {
    type filter hook input priority filter; policy drop;
    ct state vmap { established : accept, invalid : drop }
    iifname wan0 ip saddr @blocked counter drop comment "known bad"
    tcp dport { ssh, 80 } ct state new accept
    iifname $LAN accept
    udp dport 53 log prefix "dns " reject
  }
  chain output {
    type filter hook output priority filter; policy accept;
  }
}
`;

function file(name: string, text: string): string {
  const path = temporary.file(name);
  writeFileSync(path, text);
  return path;
}

test("torpor firewall check counts what can be used, and shows the place of what cannot", async () => {
  const good = file("good.nft", RULES);
  expect(await torpor(["firewall", "check", good])).toMatchObject({
    code: 0,
    out: `${good}: 1 tables, 2 chains, 5 rules, 1 sets\n`,
  });
  const bad = file("bad.nft", RULES.replace("80 }", "8o }"));
  const { code, out } = await torpor(["firewall", "check", bad]);
  expect(code).toBe(1);
  expect(out).toContain(`${bad}:8:22: Found "8o", expected a number or a word like`);
  expect(out).toContain("tcp dport { ssh, 8o } ct state new accept\n" + " ".repeat(21) + "^");
  const { out: json } = await torpor(["firewall", "check", bad, good, "--json"]);
  expect(json.trim().split("\n").map((line) => JSON.parse(line))).toMatchObject([
    { file: bad, ok: false, line: 8, column: 22 },
    { file: good, ok: true, rules: 5 },
  ]);
});

test("torpor firewall check reads includes beside the file, and variables of the command line", async () => {
  file("part-a.nft", "define PORT = 22\n");
  const main = file(
    "main.nft",
    'include "part-*.nft"\ntable ip t { chain c { tcp dport $PORT ip saddr $HOST accept; }; }\n',
  );
  expect((await torpor(["firewall", "check", main, "-D", "HOST=10.0.0.1"])).code).toBe(0);
  const { code, out } = await torpor(["firewall", "check", main]);
  expect(code).toBe(1);
  expect(out).toContain("$HOST is not defined");
});

test("patterns of included files are glob(7)'s", () => {
  const cases: readonly [pattern: string, fits: readonly string[], not: readonly string[]][] = [
    ["part-*.nft", ["part-.nft", "part-a.b.nft"], ["part-a", "part-a/b.nft", "apart-.nft"]],
    ["?.nft", ["a.nft"], [".nft", "ab.nft", "/.nft"]],
    ["[a-c1]x", ["ax", "cx", "1x"], ["dx", "x"]],
    ["[!a-c]x", ["dx"], ["ax", "/x"]],
    ["[]-]x", ["]x", "-x"], ["[x"]],
    ["[^a]", ["^", "a"], ["b"]],
    ["a[b", ["a[b"], ["ab"]],
    ["a[]b", ["a[]b"], ["ab"]],
    ["a(b)+{1}|$", ["a(b)+{1}|$"], ["ab"]],
  ];
  for (const [pattern, fits, not] of cases) {
    for (const name of fits) expect(globOf(pattern).test(name), `${pattern} ${name}`).toBe(true);
    for (const name of not) expect(globOf(pattern).test(name), `${pattern} ${name}`).toBe(false);
  }
  expect(() => globOf("[z-a]")).toThrow('Cannot read the pattern "[z-a]"');
});

test("torpor serve --firewall takes nftables in both languages, and our own rules", async () => {
  const text = file("serve.nft", RULES);
  const json = file("serve.json", (await torpor(["firewall", "print", text, "--json"])).out);
  const ours = file("ours.json", JSON.stringify({ policy: { input: "drop" }, rules: [] }));
  expect(readFirewall(text)).toHaveProperty("tables.0.name", "filter");
  expect(readFirewall(json)).toHaveProperty("tables.0.name", "filter");
  expect(readFirewall(ours)).toEqual({ policy: { input: "drop" }, rules: [] });
  expect(() => readFirewall(file("torn.json", "{"))).toThrow(/is no JSON/);
});

test("torpor firewall print gives text and JSON that are read again", async () => {
  const first = await torpor(["firewall", "print", file("print.nft", RULES)]);
  expect(first.code).toBe(0);
  expect(first.out).toContain('iifname { "lan0", "lan1" } accept');
  const again = await torpor(["firewall", "print", file("again.nft", first.out)]);
  expect(again.out).toBe(first.out);
  const json = await torpor(["firewall", "print", file("json.nft", first.out), "--json"]);
  const fromJson = await torpor(["firewall", "print", file("again.json", json.out)]);
  expect(fromJson.out).toBe(first.out);
});

test("torpor firewall explain says which rule decides, and why others do not", async () => {
  const rules = file("explain.nft", RULES);
  const packet = ["--packet", "tcp 192.0.2.7:4000 > 10.7.0.1:22", "--iif", "wan0"];
  const { code, out } = await torpor(["firewall", "explain", rules, ...packet]);
  expect(code).toBe(0);
  expect(out).toContain('input: inet filter input rule 2 (line 7): iifname "wan0" ip saddr @blocked counter');
  expect(out.endsWith("  yes: drop\ndrop (ct state new)\n")).toBe(true);
  const lan = await torpor([
    "firewall",
    "explain",
    rules,
    "--packet",
    "udp 10.0.0.2:9 > 10.7.0.1:7",
    "--iif",
    "lan1",
    "--json",
  ]);
  expect(JSON.parse(lan.out)).toMatchObject({ verdict: "accept", by: "inet filter input rule 4 (line 9)" });
  const dns = await torpor([
    "firewall",
    "explain",
    rules,
    "--packet",
    "udp [2001:db8::7]:9 > [2001:db8::1]:53",
  ]);
  expect(dns.out).toContain("log: dns \nreject (ct state new)\n");
  const none = await torpor([
    "firewall",
    "explain",
    rules,
    "--packet",
    "icmp 10.0.0.2 > 10.7.0.1 type echo-request",
  ]);
  expect(none.out).toContain("input: inet filter input policy: policy drop\ndrop");
  for (
    const words of [
      "tcp 10.0.0.1 > 10.0.0.2:80",
      "tcp 10.0.0.1:1 10.0.0.2:80",
      "udp 10.0.0.1:1 > [::1]:2",
      "hex 450",
    ]
  ) {
    const wrong = await torpor(["firewall", "explain", rules, "--packet", words]);
    expect(wrong.code, words).toBe(2);
    expect(wrong.err, words).toContain("--packet");
  }
});

test("torpor firewall simulate judges the packets of a capture, with connections", async () => {
  const chunks: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => void chunks.push(bytes.slice()));
  const at = writer.addInterface("ip", "wan0");
  const words = [
    "tcp 10.9.0.4:4000 > 10.7.0.1:22 flags syn seq 100",
    "tcp 10.7.0.1:22 > 10.9.0.4:4000 flags syn,ack seq 500 ack 101",
    "tcp 10.9.0.4:4000 > 10.7.0.1:22 flags ack seq 101 ack 501 length 10",
    "tcp 192.0.2.9:4000 > 10.7.0.1:80 flags syn",
    "udp 10.9.0.4:4000 > 10.7.0.1:9 length 20",
  ];
  words.forEach((text, index) => {
    const packet = new Slab(parsePacketText(text));
    writer.packet(at, index === 1 ? "out" : "in", 1_000 + index, packet, 0, packet.bytes.length);
  });
  writer.flush();
  const capture = temporary.file("run.pcapng");
  writeFileSync(capture, Buffer.concat(chunks));
  const rules = file("simulate.nft", RULES);
  const { code, out } = await torpor(["firewall", "simulate", rules, capture, "--local", "10.7.0.1"]);
  expect(code).toBe(0);
  const lines = out.trim().split("\n");
  expect(lines.slice(0, 5).map((line) => /^\d+ (\w+) .*?: (accept|drop|reject), /.exec(line)?.slice(1, 3)))
    .toEqual([
      ["input", "accept"],
      ["output", "accept"],
      ["input", "accept"],
      ["input", "drop"],
      ["input", "drop"],
    ]);
  expect(lines[2]).toContain("rule 1 (line 6)"); // established
  expect(out).toContain(
    '1 packets, 40 bytes: inet filter input rule 2 (line 7): iifname "wan0" ip saddr @blocked',
  );
  expect(lines.at(-1)).toBe("5 packets: 3 accept, 2 drop");
  const json = await torpor([
    "firewall",
    "simulate",
    rules,
    capture,
    "--local",
    "10.7.0.1",
    "--json",
    "--quiet",
  ]);
  expect(json.out.trim().split("\n").map((line) => JSON.parse(line)).every(({ packets }) => packets >= 1))
    .toBe(true);
  const traced = file(
    "traced.nft",
    `table ip t { chain c { type filter hook input priority 0
      tcp dport 80 meta nftrace set 1 log prefix "web "
      ip saddr 192.0.2.9 drop
    }; }`,
  );
  const told = await torpor(["firewall", "simulate", traced, capture, "--local", "10.7.0.1", "--events"]);
  expect(told.out.split("\n").filter((line) => /^(web|trace)/.test(line))).toEqual([
    "web IN=wan0 OUT= SRC=192.0.2.9 DST=10.7.0.1 LEN=40 PROTO=6 SPT=4000 DPT=80",
    'trace id 00000004 ip t c rule tcp dport 80 meta nftrace set 1 log prefix "web " (verdict continue)',
    "trace id 00000004 ip t c rule ip saddr 192.0.2.9 drop (verdict drop)",
  ]);
});
