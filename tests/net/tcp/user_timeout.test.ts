import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import type { Link } from "../../../net/link/link.ts";
import { PcapngWriter, tap } from "../../../net/link/pcap.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import { DEFAULT_TCP_CONFIG } from "../../../net/tcp/config.ts";
import { freezeTcb, thawTcb } from "../../../net/tcp/freeze.ts";
import { type TcpOptions, tcpSetOptions } from "../../../net/tcp/options.ts";
import { Tcb } from "../../../net/tcp/tcb.ts";
import { tcpConnect } from "../../../net/tcp/user.ts";
import { USER_TIMEOUT_MS_MAX, userTimeoutField, userTimeoutMs } from "../../../net/tcp/user_timeout.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { settled } from "../socket/world.ts";
import { LOCAL, REMOTE, REMOTE_PORT, Script } from "./script.ts";

function set(script: Script, options: TcpOptions): void {
  tcpSetOptions(script.stack.tcp, script.tcb, options, script.nowMs);
  script.poll();
}

/** A passive open whose listener has these options; the peer's SYN has those. */
function accepted(options: TcpOptions, syn = "mss 1460"): Script {
  const script = new Script().listen();
  script.listener!.options = options;
  script.turn(`S 0 <${syn}>`);
  return script;
}

const inUse = (script: Script): number => userTimeoutMs(script.tcb, script.stack.tcp.config);

test("RFC 5482 section 3: seconds up to 32,767 of them, minutes beyond, never shorter than was meant", () => {
  const cases: [ms: number, field: number][] = [
    [0, 0],
    [1, 1],
    [1_000, 1],
    [1_001, 2],
    [32_767_000, 0x7fff],
    [32_767_001, 0x8000 | 547],
    [USER_TIMEOUT_MS_MAX, 0xffff],
    [2 * USER_TIMEOUT_MS_MAX, 0xffff],
  ];
  for (const [ms, field] of cases) expect([ms, userTimeoutField(ms)]).toEqual([ms, field]);
});

test("by default nothing is said, and nothing believed (RFC 5482 section 3.1)", () => {
  const script = accepted({ userTimeoutMs: 30_000 }, "mss 1460,UTO 500");
  script.out("S. 0 ack 1 <mss 1460>");
  script.turn(". 1 ack 1 <UTO 500>");
  expect(inUse(script)).toBe(30_000);
  script.write(10);
  script.out("P. 1:11 ack 1 <>");
  set(script, { userTimeoutMs: 0 });
  expect(inUse(script)).toBe(0);
});

test("RFC 5482 section 3.2: the option goes with the SYN, and with data until that is acknowledged", () => {
  const script = new Script();
  const options = { userTimeoutOption: true, userTimeoutAdvertisedMs: 300_000 };
  script.tcb = tcpConnect(
    script.stack.tcp,
    parseIpv4(LOCAL)!,
    80,
    parseIpv4(REMOTE)!,
    REMOTE_PORT,
    script.nowMs,
    options,
  )!;
  script.poll();
  script.out("S 0 <mss 1460,sackOK,TS 1 0,wscale 7,UTO 300>");
  script.turn("S. 0 ack 1 <mss 1460>"); // perhaps a cookie, which has forgotten it
  script.out(". 1 ack 1 <UTO 300>");
  script.turn("P. 1:11 ack 1");
  script.wait(50);
  script.out(". 1 ack 11 <>"); // a bare ACK says it once
  script.write(1460);
  script.out("P. 1:1461 ack 11 <>"); // no room
  script.write(100);
  script.turn(". 11 ack 1461");
  script.out("P. 1461:1561 ack 11 <UTO 300>");
  script.wait(250);
  expect(script.take(REMOTE_PORT).map(({ segment }) => script.main.show(segment, "<"))).toContain(
    "P. 1461:1561 ack 11 <UTO 300>",
  );
  script.turn(". 11 ack 1561");
  script.write(100);
  script.out("P. 1561:1661 ack 11 <>");
  script.turn(". 11 ack 1661");
  set(script, { userTimeoutAdvertisedMs: 301_000 }); // a change is news
  script.write(100);
  script.out("P. 1661:1761 ack 11 <UTO 301>");
  set(script, { userTimeoutOption: false });
  script.turn(". 11 ack 1761");
  script.write(100);
  script.out("P. 1761:1861 ack 11 <>");
});

test("a SYN-ACK says it too, behind whatever else there is room for; beside SACK blocks there is none", () => {
  const script = accepted(
    { userTimeoutOption: true, userTimeoutMs: 7_200_000 },
    "mss 1460,sackOK,TS 9 0,wscale 7",
  );
  script.out("S. 0 ack 1 <mss 1460,sackOK,TS 1 9,wscale 7,UTO 7200>");
  script.turn(". 1 ack 1 <TS 9 1>");
  script.turn("P. 101:201 ack 1 <TS 10 1>");
  script.out(". 1 ack 1 <TS 1 9,sack 101:201>");
  script.turn("P. 1:101 ack 1 <TS 10 1>");
  script.wait(50);
  script.out(". 1 ack 201 <TS 1 10,UTO 7200>");
});

test("the longer of both holds, within our limits, unless the application has set its own; 0 says nothing (RFC 5482 section 3.1)", () => {
  const script = accepted({ userTimeoutOption: true }, "mss 1460,UTO 500");
  script.out("S. 0 ack 1 <mss 1460>"); // we have nothing to say
  script.turn(". 1 ack 1");
  expect(inUse(script)).toBe(500_000);
  let at = 1;
  const hear = (uto: string): number => {
    script.turn(`P. ${at}:${at + 1} ack 1 <${uto}>`);
    at++;
    return inUse(script);
  };
  const { userTimeoutMinMs, userTimeoutMaxMs } = script.stack.tcp.config;
  expect([userTimeoutMinMs, userTimeoutMaxMs]).toEqual([100_000, 3_600_000]);
  expect(hear("UTO 99")).toBe(100_000);
  expect(hear("UTO 101")).toBe(101_000);
  expect(hear("UTO 0")).toBe(101_000);
  expect(hear("UTO 0m")).toBe(101_000);
  expect(hear("raw 1c 3 1")).toBe(101_000); // a length that is not its
  expect(hear("UTO 59m")).toBe(59 * 60_000);
  expect(hear("UTO 61m")).toBe(3_600_000);
  expect(hear("UTO 200")).toBe(200_000);
  set(script, { userTimeoutAdvertisedMs: 250_000 });
  expect(inUse(script)).toBe(250_000);
  set(script, { userTimeoutMs: 5_000 });
  expect(inUse(script)).toBe(5_000);
  script.turn(`P. ${at + 70_000}:${at + 70_001} ack 1 <UTO 300>`); // not acceptable: not believed
  set(script, { userTimeoutMs: 0 });
  expect(inUse(script)).toBe(250_000);
});

test("what was agreed decides when a silent peer is given up, later than the count of retransmissions would (RFC 5482)", () => {
  for (const [uto, endMs] of [["UTO 1800", 1_800_000], ["UTO 120", 120_000], ["", 924_600]] as const) {
    const script = accepted({ userTimeoutOption: true }, "mss 1460");
    script.learn();
    script.turn(`. 1 ack 1 <${uto}>`);
    script.heard();
    script.write(10);
    script.wait(endMs - 1);
    expect([uto, script.state]).toEqual([uto, "established"]);
    script.wait(uto === "" ? 1_000 : 1);
    expect(script.heard().at(-1)).toBe("closed timedOut");
    // With a closed window it decides as well.
    const closed = accepted({ userTimeoutOption: true }, "mss 1460");
    closed.learn();
    closed.turn(`. 1 ack 1 win 0 <${uto}>`);
    closed.write(10);
    closed.wait(endMs + 60_000);
    if (uto !== "") expect(closed.state).toBe("closed");
  }
});

test("the option's state is in the image", () => {
  const script = accepted({ userTimeoutOption: true, userTimeoutAdvertisedMs: 200_000 }, "mss 1460,UTO 500");
  script.learn();
  script.turn(". 1 ack 1");
  script.write(10);
  script.out("P. 1:11 ack 1 <UTO 200>");
  const later = script.nowMs + 1_000;
  const tcb = new Tcb(0);
  thawTcb(freezeTcb(script.tcb, later), tcb, DEFAULT_TCP_CONFIG, later);
  for (const name of Object.keys(tcb).filter((each) => each.startsWith("userTimeout")) as (keyof Tcb)[]) {
    expect([name, tcb[name]]).toEqual([name, script.tcb[name]]);
  }
  expect(userTimeoutMs(tcb, DEFAULT_TCP_CONFIG)).toBe(500_000);
});

judge(
  "tshark reads the option in both SYNs and behind them, and finds no fault with a segment",
  ["tshark"],
  async () => {
    using folder = new TemporaryFolder();
    const parts: Uint8Array[] = [];
    const writer = new PcapngWriter((bytes) => parts.push(bytes));
    const clock = new VirtualClock();
    const [left, right] = pipe({ clock, medium: "ip", delayMs: 1 });
    const host = (link: Link, address: string, seed: number): Host =>
      new Host({ interfaces: [{ link }], addresses: [{ address }], clock, entropy: new Prng(seed) });
    using client = host(tap(left, writer, clock), "10.0.0.2/24", 1);
    using server = host(right, "10.0.0.1/24", 2);
    const own = { userTimeoutOption: true, userTimeoutMs: 40_000_000 };
    const listener = server.listen({ port: 80, tcpOptions: own });
    const tcpOptions = { userTimeoutOption: true, userTimeoutAdvertisedMs: 300_000 };
    const [conn, accepted] = await settled(
      clock,
      Promise.all([client.connect({ hostname: "10.0.0.1", port: 80, tcpOptions }), listener.accept()]),
    );
    await settled(clock, conn.write(new Uint8Array(10)));
    await settled(clock, accepted.read(new Uint8Array(10)));
    await settled(clock, accepted.write(new Uint8Array(10)));
    await clock.advance(1_000);
    writer.flush();
    const file = folder.file("capture.pcapng");
    writeFileSync(file, Buffer.concat(parts));
    const tshark = (...more: string[]): string[] =>
      execFileSync("tshark", ["-r", file, ...more], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
        .trim().split("\n");
    const options = ["ip.src", "tcp.flags.syn", "tcp.options.user_to_granularity", "tcp.options.user_to_val"];
    const said = tshark(
      "-Y",
      "tcp.options.user_to",
      "-T",
      "fields",
      ...options.flatMap((name) => ["-e", name]),
    );
    const lines = said.map((line) =>
      line.replaceAll("True", "1").replaceAll("False", "0").split("\t").join(" ")
    );
    expect(new Set(lines)).toEqual(
      new Set([
        "10.0.0.2 1 0 300",
        "10.0.0.1 1 1 667",
        "10.0.0.2 0 0 300",
        "10.0.0.1 0 1 667",
      ]),
    );
    const faults = "tcp.checksum.status == 0 || _ws.malformed || tcp.analysis.flags";
    expect(tshark("-o", "tcp.check_checksum:TRUE", "-Y", faults)).toEqual([""]);
  },
);
