import { expect, test } from "vitest";
import { parseScript } from "./parse.ts";
import { type PacketAction, ScriptSyntaxError, Unsupported } from "./script.ts";
import { OptionKind } from "./parse_tcp_options.ts";

function actions(text: string): unknown[] {
  return parseScript("test.pkt", text).events.map(({ action }) => action);
}

function packet(text: string): PacketAction {
  return actions(text)[0] as PacketAction;
}

test("times: absolute, relative, ranges, and any", () => {
  const { events } = parseScript(
    "test.pkt",
    [
      "0 > . 1:1(0)",
      "1.5 > . 1:1(0)",
      "+.25 > . 1:1(0)",
      "+1 > . 1:1(0)",
      "+0.1~+0.25 > . 1:1(0)",
      "1~2.5 > . 1:1(0)",
      "* > . 1:1(0)",
      "+.1...0.3 accept(3, ..., ...) = 4",
      "2...3 read(4, ..., 10) = 10",
    ].join("\n"),
  );
  expect(events.map(({ time }) => time)).toEqual([
    { kind: "absolute", us: 0 },
    { kind: "absolute", us: 1_500_000 },
    { kind: "relative", us: 250_000 },
    { kind: "relative", us: 1_000_000 },
    { kind: "relativeRange", us: 100_000, endUs: 250_000 },
    { kind: "absoluteRange", us: 1_000_000, endUs: 2_500_000 },
    { kind: "any" },
    { kind: "relative", us: 100_000 },
    { kind: "absolute", us: 2_000_000 },
  ]);
  expect(events.map(({ line }) => line)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(events.slice(7).map(({ action }) => (action as { endUs: number }).endUs)).toEqual([
    300_000,
    3_000_000,
  ]);
});

test("flags, ACE digits, sequence numbers, window and urgent pointer", () => {
  expect(packet("0 > FP. 1:11(10) ack 5 win 77 urg 3")).toMatchObject({
    flags: 0x19,
    sequence: 1,
    length: 10,
    acknowledgment: 5,
    window: 77,
    urgent: 3,
    inbound: false,
  });
  expect(packet("0 < - 0:0(0) win 5")).toMatchObject({ flags: 0, window: 5, inbound: true });
  expect(packet("0 > SEW 0:0(0)")).toMatchObject({ flags: 0xc2, ae: false, ace: false });
  expect(packet("0 > SEWA 0:0(0)")).toMatchObject({ flags: 0xc2, ae: true, ace: false });
  expect(packet("0 > P.5 1:2(1) ack 1")).toMatchObject({ flags: 0x58, ae: true, ace: true });
  expect(packet("0 > P6. 1:2(1) ack 1")).toMatchObject({ flags: 0x98, ae: true, ace: true });
  expect(packet("0 > . 1:1(0) ack 1")).toMatchObject({ window: -1, urgent: 0, options: [] });
  expect(packet("0 > R. 17:17(0)! ack 1")).toMatchObject({ absoluteSequence: true, sequence: 17 });
  expect(packet("0 > S. ...(0) ack 1")).toMatchObject({ anySequence: true, length: 0 });
  expect(packet("0 > S 4294967295:4294967295(0)")).toMatchObject({ sequence: 0xffff_ffff });
  expect(packet("0 < . 4294967295:4(5) win 1")).toMatchObject({ sequence: 0xffff_ffff, length: 5 });
});

test("ports and what is said about the IP header", () => {
  expect(packet("0 < [ect0] 4000 > 80 . 1:1(0) win 1")).toMatchObject({
    sourcePort: 4000,
    destinationPort: 80,
    ip: { ecn: 2 },
  });
  expect(packet("0 > (tos 0x10) . 1:1(0)").ip).toMatchObject({ tos: 16, ecn: undefined });
  expect(packet("0 > [ect01] . 1:1(0)").ip).toMatchObject({ anyEct: true });
  expect(packet("0 > (ttl 7) (flowlabel 0x1f) . 1:1(0)").ip).toMatchObject({ ttl: 7, flowLabel: 31 });
  expect(packet("0 > [noecn, flowlabel 0x2] . 1:1(0)").ip).toMatchObject({ ecn: 0, flowLabel: 2 });
  expect(packet("0 < [ce] . 1:1(0) win 1").ip).toMatchObject({ ecn: 3 });
  expect(packet("0 < bad checksum [ect1] . 1:1(0) win 1")).toMatchObject({
    badChecksum: true,
    ip: { ecn: 1 },
  });
});

test("every TCP option", () => {
  const options = (text: string): unknown => packet(`0 > S 0:0(0) <${text}>`).options;
  expect(options("mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 8")).toEqual([
    { kind: OptionKind.mss, data: [5, 180] },
    { kind: OptionKind.sackPermitted, data: [] },
    { kind: OptionKind.timestamp, data: [0, 0, 0, 100, 0, 0, 0, 0] },
    { kind: OptionKind.nop, data: [] },
    { kind: OptionKind.windowScale, data: [8] },
  ]);
  expect(options("nop,nop,sack 1:2 4294967295:3")).toEqual([
    { kind: 1, data: [] },
    { kind: 1, data: [] },
    { kind: OptionKind.sack, data: [0, 0, 0, 1, 0, 0, 0, 2, 255, 255, 255, 255, 0, 0, 0, 3] },
  ]);
  expect(options("FO 0a1B,eol,eol,eol,eol")).toMatchObject([{ kind: 34, data: [10, 27] }, {}, {}, {}, {}]);
  expect(options("FO,nop,nop")).toMatchObject([{ kind: 34, data: [] }, {}, {}]);
  expect(options("FOEXP,nop,nop,nop,nop")).toMatchObject([{ kind: 254, data: [0xf9, 0x89] }, {}, {}, {}, {}]);
  expect(options("FOEXP aabb,nop,nop")).toMatchObject([
    { kind: 254, data: [0xf9, 0x89, 0xaa, 0xbb] },
    {},
    {},
  ]);
  expect(options("md5 000102030405060708090a0b0c0d0e0f,nop,nop")).toMatchObject([{ kind: 19 }, {}, {}]);
  expect(options("ECN e1b 1 ceb 0 e0b 258,nop")).toMatchObject([
    { kind: OptionKind.accEcn1, data: [0, 0, 1, 0, 0, 0, 0, 1, 2] },
    {},
  ]);
  expect(options("ECN e0b 7,nop,nop,nop")).toMatchObject([
    { kind: OptionKind.accEcn0, data: [0, 0, 7] },
    {},
    {},
    {},
  ]);
  expect(options("...")).toBeUndefined();
});

test("ICMP messages", () => {
  expect(actions("0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]")).toEqual([
    {
      kind: "icmp",
      inbound: true,
      version: 4,
      type: "unreachable",
      code: "frag_needed",
      mtu: 1200,
      sequence: 1,
      length: 1460,
    },
  ]);
  expect(actions("0 < icmpv6 packet_too_big mtu 1300")).toMatchObject([
    { version: 6, type: "packet_too_big", code: undefined, mtu: 1300, sequence: 0 },
  ]);
});

test("calls, their arguments, results, errors and notes", () => {
  expect(actions("0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)\n+1 close(3) = 0"))
    .toEqual([
      {
        kind: "syscall",
        name: "connect",
        args: [{ kind: "number", value: 3 }, { kind: "any" }, { kind: "any" }],
        result: { kind: "number", value: -1 },
        errno: "EINPROGRESS",
        endUs: undefined,
      },
      {
        kind: "syscall",
        name: "close",
        args: [{ kind: "number", value: 3 }],
        result: { kind: "number", value: 0 },
        errno: undefined,
        endUs: undefined,
      },
    ]);
  const [call] = actions(
    '0 f(A|B, [1, 0x1f], {fd=4, on(2)=[{..., 5}]}, "a" "b"..., htons(80)) = 0x2 (flags O_RDWR)',
  );
  expect(call).toMatchObject({
    args: [
      { kind: "or", left: { name: "A" }, right: { name: "B" } },
      { kind: "list", items: [{ value: 1 }, { value: 31 }] },
      {
        kind: "struct",
        items: [
          { kind: "field", name: "fd", value: { value: 4 } },
          {
            kind: "field",
            name: "on",
            args: [{ value: 2 }],
            value: { kind: "list", items: [{ kind: "struct" }] },
          },
        ],
      },
      { kind: "string", value: "ab" },
      { kind: "call", name: "htons", args: [{ value: 80 }] },
    ],
    result: { value: 2 },
  });
});

test("commands before, between and behind the events; code", () => {
  const text =
    "`first`\n0 `second\nline`\n+0 %{ assert a == 1\nassert b }%\n+1 > . 1:1(0)\n`/tmp/sysctl_restore_${PPID}.sh`";
  const { events } = parseScript("test.pkt", text);
  expect(events.map(({ line, action }) => [line, action.kind])).toEqual([
    [1, "command"],
    [2, "command"],
    [4, "code"],
    [6, "packet"],
  ]);
  expect(events[1]!.action).toEqual({ kind: "command", text: "second\nline" });
  expect(events[2]!.action).toEqual({ kind: "code", text: " assert a == 1\nassert b " });
});

test("options, of the script and of the command line; definitions stand for words everywhere", () => {
  const text = `--tolerance_usecs=75000 --mtu=1400
--strict_segments
--ip_version=ipv6
--tcp_ts_tick_usecs=1000 --tcp_ts_ecr_scaled
--define=COOKIE=0a0b0c -D NAME="quoted"
--local_ip=192.168.0.1
0 > S 0:0(0) <FO COOKIE>`;
  expect(() => parseScript("test.pkt", text)).toThrow("not padded"); // the cookie was put in: 2 + 3 bytes
  const { options } = parseScript("test.pkt", text.replace("COOKIE>", "COOKIE,nop,nop,nop>"), [
    "--define=OTHER=1",
    "--mtu=9000",
  ]);
  expect(options).toMatchObject({
    toleranceUs: 75_000,
    mtu: 1400, // the script's own word counts
    strictSegments: true,
    ipVersion: "ipv6",
    tsTickUs: 1000,
    tsEcrScaled: true,
  });
  expect([...options.defines]).toEqual([["OTHER", "1"], ["COOKIE", "0a0b0c"], ["NAME", '"quoted"']]);
});

test("comments and conditional parts are blanks that keep their lines", () => {
  const text = `// a comment with "quotes" and \`ticks\`
/* over
   lines */ 0 > . 1:1(0) // behind
#ifdef STANDARD
+0 > . 2:2(0)
#else
this is not read
#endif
#ifdef OTHER
nor is this
#endif
+0 f("http://x/*y*/") = 0`;
  const { events } = parseScript("test.pkt", text);
  expect(events.map(({ line }) => line)).toEqual([3, 5, 12]);
  expect(events[2]!.action).toMatchObject({ args: [{ value: "http://x/*y*/" }] });
});

const MISTAKES: readonly [text: string, line: number, message: string][] = [
  ["0 > . 1:1(0)\n+0 > . 1:5(3)", 2, "inconsistent TCP sequence numbers"],
  ["0 > Q. 1:1(0)", 1, 'unknown TCP flag "Q"'],
  ["0 > . 1:1(0) ack 1 win 70000", 1, "win is out of range"],
  ["\n0 > . 1:1(0) <mss 1460,nop>", 2, "not padded"],
  ["0 > S 0:0(0) <mss 70000>", 1, "out of range"],
  ["0 > S 0:0(0) <rum 1>", 1, 'unknown TCP option "rum"'],
  ["0 > . 1:1(0) <nop,nop,sack 1:2 3:4 5:6 7:8 9:10>", 1, "too long"],
  ["0 < . 1:1(0) win 1 <...>", 1, "only for outbound packets"],
  ["* < . 1:1(0) win 1", 1, "only an outbound packet"],
  ["+1~+0.5 > . 1:1(0)", 1, "time range is backwards"],
  ["0 read(4, ..., 10) == 10", 1, "expected an expression"],
  ["0 read(4, ..., 10 = 10", 1, 'expected "," or ")"'],
  ["0 nonsense", 1, 'expected "("'],
  ["x", 1, "expected a time"],
  ["0 > . 1:1(0) ack 1\n`clean up`\n+0 > . 1:1(0)", 3, "only one command"],
  ["--ip_version=ipv5\n0 > . 1:1(0)", 1, "unknown IP version"],
  ["--ip_version\n0 > . 1:1(0)", 1, 'unknown IP version ""'],
  ["--mtu=big\n0 > . 1:1(0)", 1, "needs a number"],
];

test("mistakes are told with their lines", () => {
  for (const [text, line, message] of MISTAKES) {
    let error: unknown;
    try {
      parseScript("test.pkt", text);
    } catch (thrown) {
      error = thrown;
    }
    expect(error, text).toBeInstanceOf(ScriptSyntaxError);
    expect((error as ScriptSyntaxError).message, text).toContain(message);
    expect((error as ScriptSyntaxError).line, text).toBe(line);
  }
});

test("what is not supported is told with its line", () => {
  const texts = [
    "0 > udp (1400)",
    "0 > ipv4 1.2.3.4 > 5.6.7.8: . 1:1(0)",
    "0 > gre: . 1:1(0)",
    "--wire_client\n0 f() = 0",
  ];
  for (const text of texts) {
    expect(() => parseScript("test.pkt", text), text).toThrow(Unsupported);
  }
});
