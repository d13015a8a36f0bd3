import { execFileSync, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { measureImage } from "../../checkpoint/image/measure.ts";
import { EventCode } from "../../checkpoint/replay/event.ts";
import { ReplayReader } from "../../checkpoint/replay/reader.ts";
import { readPcapng } from "../../net/link/pcap.ts";
import { RecordedWorld } from "../checkpoint/replay/recorded_world.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { torpor } from "./run.ts";

const TORPOR = fileURLToPath(new URL("../../cli/torpor.ts", import.meta.url));
const folder = new TemporaryFolder();
const client = folder.file("client.replay"), server = folder.file("server.replay");
let bytes: Uint8Array;

beforeAll(async () => {
  const { recordings } = await new RecordedWorld({ seed: 11, record: true, bytes: 3_000 }).run();
  writeFileSync(client, recordings.get("client")!);
  bytes = recordings.get("server 1")!;
  writeFileSync(server, bytes);
});
afterAll(() => folder[Symbol.dispose]());

/** Frames of a recording, as the player must find them. */
function framesOf(recording: Uint8Array): { in: number; out: number } {
  const events = [...new ReplayReader(recording).events()].map(({ value }) => value);
  return {
    in: events.filter(([code, call]) => code === EventCode.Call && call === 1).length,
    out: events.filter(([code]) => code === EventCode.Sent).length,
  };
}

test("a recording replays: exit code 0 and what was compared", async () => {
  const frames = framesOf(bytes);
  const { code, out } = await torpor(["replay", server]);
  expect(code).toBe(0);
  expect(out).toMatch(new RegExp(`^same: \\d+ steps, ${frames.in} frames in, ${frames.out} frames out\n$`));
  const json = await torpor(["replay", client, "--json"]);
  expect([json.code, JSON.parse(json.out)]).toMatchObject([0, {
    result: "same",
    framesOut: expect.any(Number),
  }]);
});

test("another configuration differs: exit code 1 and both packets", async () => {
  const { code, out } = await torpor(["replay", client, "--tcp", "sack=false"]);
  expect(code).toBe(1);
  expect(out).toMatch(/^differs after \d+ steps/);
  expect(out).toMatch(/recorded: IP .* Flags \[S\].*sackOK/);
  expect(out).toMatch(/replayed: IP .* Flags \[S\]/);
  expect(out).toMatch(/from byte \d+ of the frame: recorded [0-9a-f]+, replayed [0-9a-f]+/);
  const json = await torpor(["replay", client, "--tcp", "sack=false", "--json"]);
  const { result, difference } = JSON.parse(json.out);
  expect([json.code, result]).toEqual([1, "differs"]);
  expect(difference.recorded).not.toBe(difference.replayed);
  expect(difference).toMatchObject({ step: expect.any(Number), offset: expect.any(Number) });
});

test("--print tells the packet walk: packets in, verdicts, states, packets out, and what owners asked", async () => {
  const { code, out } = await torpor(["replay", server, "--print"]);
  expect(code).toBe(0);
  const frames = framesOf(bytes);
  const lines = out.split("\n");
  expect(lines.filter((line) => /^.{20} ?in {2}net0 /.test(line)).length).toBe(frames.in);
  expect(lines.filter((line) => / out net0 /.test(line)).length).toBe(frames.out);
  expect(out).toContain("dropped: ");
  expect(out).toMatch(/10\.0\.0\.1:7-10\.0\.0\.2:\d+: none -> synReceived/);
  expect(out).toMatch(/: synReceived -> established/);
  expect(out).toMatch(/: established -> established, being saved/);
  expect(out).toMatch(/, being saved -> asleep/);
  expect(out).toMatch(/: asleep -> waking/);
  expect(out).toMatch(/told tcpEvents .*: readable/);
  expect(out).toMatch(/tcp\.sendAll\(10\.0\.0\.1:7-/);
  expect(out).not.toContain("poll(");
  expect((await torpor(["replay", server, "--all"])).out).toContain("poll(");
});

test("--json with --print is one object a line", async () => {
  const { out } = await torpor(["replay", server, "--print", "--json"]);
  const all = out.trimEnd().split("\n").map((line) => JSON.parse(line));
  expect(all.at(-1).result).toBe("same");
  expect(new Set(all.slice(0, -1).map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(7);
  const sent = all.filter(({ kind }) => kind === "out");
  expect(sent.every(({ frame, interfaceName }) => /^[0-9a-f]+$/.test(frame) && interfaceName === "net0"))
    .toBe(true);
});

test("--until and --steps stop there; a condition that never comes true is exit code 3", async () => {
  const stepsOf = (out: string): number => Number(/(\d+) steps/.exec(out)?.[1]);
  const whole = stepsOf((await torpor(["replay", server])).out);
  const found = [
    "step 30",
    "time 3.02",
    "packet in tcp syn port 7",
    "packet out tcp syn ack port 80",
    "packet out rst",
    "packet udp ip6 port 53",
    "packet in arp",
    "packet host 10.0.0.2 port 7 length 100",
    "drop",
    "drop FirewallReject",
    "state established",
    "state asleep",
  ];
  for (const condition of found) {
    const { code, out } = await torpor(["replay", server, "--until", condition]);
    expect([condition, code]).toEqual([condition, 0]);
    expect(stepsOf(out), condition).toBeLessThan(whole);
  }
  const lastLine = async (condition: string): Promise<string> => {
    const { out } = await torpor(["replay", server, "--print", "--until", condition]);
    return out.trimEnd().split("\n").slice(-8).join("\n");
  };
  expect(await lastLine("packet out rst")).toMatch(/out net0 .*Flags \[R/);
  expect(await lastLine("state asleep")).toContain("-> asleep");
  expect((await torpor(["replay", server, "--steps", "7"])).out).toContain("same: 7 steps");
  const name = /(10\.0\.0\.1:7-\S+): /.exec((await torpor(["replay", server, "--print"])).out)![1];
  expect((await torpor(["replay", server, "--until", `state ${name} asleep`])).code).toBe(0);
  for (const never of ["packet port 9999", "state lastAck", "time 1e6", "note fire", "drop Ipv6Version"]) {
    const { code, out } = await torpor(["replay", server, "--until", never]);
    expect([never, code]).toEqual([never, 3]);
    expect(out).toContain("the condition never came true");
  }
});

test("--step plays what somebody asks for", async () => {
  const { code, out, err } = await torpor(["replay", server, "--step"], ["", "3", "s", "?", "100", "s", "q"]);
  expect(code).toBe(0);
  expect(out).toContain("no connections");
  expect(out).toContain("the next step that does something");
  expect(out).toMatch(/10\.0\.0\.1:\d+-10\.0\.0\.2:\d+: established/);
  expect(err).toBe("> ".repeat(7));
  const on = await torpor(["replay", server, "--step", "--until", "state established"], ["c", "s"]);
  expect(on.out).toContain("synReceived -> established");
  expect((await torpor(["replay", server, "--step"], ["c"])).out).toContain("same: ");
});

judge(
  "--step at a terminal ends when it is told to, in colours unless NO_COLOR is set",
  ["script"],
  async () => {
    for (const colors of [true, false]) {
      const [program, ...first] = RUN_ON.node;
      const command = [program!, ...first, TORPOR, "replay", server, "--step"].map((word) => `'${word}'`)
        .join(" ");
      const { NO_COLOR: _, ...rest } = process.env;
      const env = colors ? rest : { ...rest, NO_COLOR: "1" };
      const child = spawn("script", ["-qec", command, "/dev/null"], {
        env,
        stdio: ["pipe", "pipe", "inherit"],
      });
      let out = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        out += text;
        if (out.split("> ").length === 2 && text.includes("> ")) child.stdin.write("2\n"); // and nothing ends it but q
        else if (text.includes("> ") && out.includes("addInterface")) child.stdin.write("q\n");
      });
      const code = await new Promise((resolve) => void child.once("close", resolve));
      expect([code, out.includes("\x1b["), out.includes("same")]).toEqual([0, colors, true]);
    }
  },
  120_000,
);

test("--info says what the file holds", async () => {
  const { code, out } = await torpor(["replay", server, "--info"]);
  expect(code).toBe(0);
  for (
    const part of ["server 1", "seed 11", "net0: ethernet, MTU 1500", "frames", "as by default", "poll "]
  ) {
    expect(out).toContain(part);
  }
  const info = JSON.parse((await torpor(["replay", server, "--info", "--json"])).out);
  const frames = framesOf(bytes);
  expect(info).toMatchObject({ framesIn: frames.in, framesOut: frames.out, bytes: bytes.length, config: {} });
  expect(info.seconds).toBeGreaterThan(5);
});

test("--pcapng writes the packets of both ways, with what the stack did as their comments", async () => {
  const path = folder.file("server.pcapng");
  expect((await torpor(["replay", server, "--pcapng", path])).code).toBe(0);
  const packets = [...readPcapng(new Uint8Array(readFileSync(path)))];
  const frames = framesOf(bytes);
  expect(packets.filter(({ direction }) => direction === "in").length).toBe(frames.in);
  expect(packets.filter(({ direction }) => direction === "out").length).toBe(frames.out);
  const recorded = [...new ReplayReader(bytes).events()].filter(({ value }) => value[0] === EventCode.Sent);
  const sent = packets.filter(({ direction }) => direction === "out");
  sent.forEach((packet, at) =>
    expect(packet.bytes).toEqual(new Uint8Array(recorded[at]!.value[2] as Uint8Array))
  );
  const comments = packets.map(({ comment }) => comment ?? "");
  expect(comments.every((comment) => /^step \d+/.test(comment))).toBe(true);
  for (const part of ["dropped: ", "none -> synReceived", "told tcpEvents", "-> asleep"]) {
    expect(comments.some((comment) => comment.includes(part)), part).toBe(true);
  }
});

judge("tshark reads what --pcapng writes, comments and all", ["tshark"], async () => {
  const path = folder.file("judged.pcapng");
  await torpor(["replay", server, "--pcapng", path]);
  const out = execFileSync("tshark", ["-r", path, "-T", "fields", "-e", "frame.comment"], {
    encoding: "utf8",
  });
  const frames = framesOf(bytes);
  expect(out.trimEnd().split("\n").length).toBe(frames.in + frames.out);
  expect(out).toContain("synReceived");
});

test("a capture that was cut short, as by killing tcpdump, is fed up to there, and the cut is named", async () => {
  const whole = folder.file("whole.pcapng");
  await torpor(["replay", server, "--pcapng", whole]);
  const { err: proposal } = await torpor(["replay", whole]);
  const [, address] = /try ([^,\s]+)/.exec(proposal)!;
  const path = folder.file("cut.pcapng");
  const bytes = readFileSync(whole);
  writeFileSync(path, bytes.subarray(0, bytes.length - 5));
  const { code, err } = await torpor(["replay", path, "--as-host", address!]);
  expect(code).toBe(0);
  expect(err).toMatch(/cut\.pcapng was cut short at byte \d+: read up to there\n.* packets fed/);
  writeFileSync(path, bytes.subarray(0, 9));
  expect(await torpor(["replay", path, "--as-host", address!])).toMatchObject({ code: 2 });
});

test("a recording that was cut short is played up to there, and the cut is named", async () => {
  const path = folder.file("cut.replay");
  writeFileSync(path, bytes.subarray(0, bytes.length - 5));
  const { code, out, err } = await torpor(["replay", path]);
  expect([code, out]).toEqual([0, expect.stringMatching(/^same: /)]);
  const at = Number(/was cut short at byte (\d+): played up to there/.exec(err)?.[1]);
  expect(measureImage(bytes.subarray(at))).toBe(bytes.length - at);
  expect((await torpor(["replay", path, "--info"])).out).toContain(`cut short at byte ${at}`);
});

test("what is no recording is refused with exit code 2, naming what, where and why", async () => {
  const first = measureImage(bytes)!;
  const flipped = bytes.slice();
  flipped[first + 500]! ^= 4;
  const files: [name: string, content: Uint8Array, message: RegExp][] = [
    ["empty", new Uint8Array(0), /empty\.replay: the file is empty/],
    ["text", new TextEncoder().encode("GET / HTTP/1.0\r\n"), /at byte 0: .*no image begins here/],
    ["short", bytes.subarray(0, first - 1), /at byte 0: it ends within its first segment/],
    ["damaged", flipped, /at byte \d+: chunk 0 at byte \d+ hashes to/],
    ["tail", Uint8Array.from([...bytes, 1, 2, 3]), new RegExp(`at byte ${bytes.length}: `)],
  ];
  for (const [name, content, message] of files) {
    const path = folder.file(`${name}.replay`);
    writeFileSync(path, content);
    const { code, err } = await torpor(["replay", path]);
    expect([name, code]).toEqual([name, 2]);
    expect(err).toMatch(/^torpor replay: /);
    expect(err).toContain(path);
    expect(err).toMatch(message);
  }
  expect(await torpor(["replay", folder.file("nothing.replay")])).toMatchObject({
    code: 2,
    err: expect.stringContaining("ENOENT"),
  });
});

test("command lines that are not understood are exit code 2, and say what is", async () => {
  for (
    const [args, message] of [
      [["replay"], "which file?"],
      [["replay", server, client], "one file at a time"],
      [["replay", server, "--until", "yesterday"], "need step, time, packet, drop, state or note"],
      [["replay", server, "--until", "state happy"], "need a state at its end, one of synSent"],
      [["replay", server, "--until", "step soon"], "need a number"],
      [["replay", server, "--steps", "-1"], "--steps"],
      [["replay", server, "--tcp", "shoes=2"], "a name of TcpConfig"],
      [["replay", server, "--tcp", "sack=2"], "sack is a boolean"],
      [["replay", server, "--dance"], "--dance"],
      [["replay", server, "--as-host", "10.0.0.1"], "--as-host is for captures"],
      [["dance"], `there is no command "dance"`],
    ] as const
  ) {
    const { code, err } = await torpor(args);
    expect([args, code]).toEqual([args, 2]);
    expect(err).toContain(message);
  }
});

test("--help tells of every command, its options, examples and exit codes", async () => {
  const { code, out } = await torpor(["--help"]);
  expect([code, out.includes("replay") && out.includes("explain")]).toEqual([0, true]);
  for (const name of ["replay", "explain"]) {
    for (const args of [[name, "--help"], ["help", name]]) {
      const help = await torpor(args);
      expect(help.code).toBe(0);
      expect(help.out).toMatch(new RegExp(`  torpor ${name} `));
      expect(help.out).toContain("Exit codes: 0 ");
    }
  }
  expect((await torpor([])).code).toBe(2);
});

test("what a recording says does not reach the terminal as control characters", async () => {
  const { Recorder } = await import("../../checkpoint/replay/recorder.ts");
  const recorder = new Recorder({ about: { "\x1b[2J": "\x07" } });
  const stack = recorder.stack({ nowMs: 0, entropy: { fill: () => {} } });
  recorder.note("\x1b]0;mine\x07");
  stack.poll(0);
  recorder.close();
  const path = folder.file("rude.replay");
  writeFileSync(path, recorder.bytes());
  for (const args of [["--info"], ["--all"]]) {
    const { out } = await torpor(["replay", path, ...args]);
    // deno-lint-ignore no-control-regex -- they are what must not be there
    expect(out).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/);
    expect(out).toContain("\\x1b");
  }
});

test("explain prints every image of a file, and finds the damaged one", async () => {
  const { code, out } = await torpor(["explain", server]);
  expect(code).toBe(0);
  expect(out.match(/replay image, version 1/g)!.length).toBe(
    [...out.matchAll(/every part is whole/g)].length,
  );
  expect(out).toMatch(/segment = 0/);
  const path = folder.file("flipped.replay");
  const flipped = bytes.slice();
  flipped[measureImage(bytes)! + 300]! ^= 1;
  writeFileSync(path, flipped);
  const bad = await torpor(["explain", path, "--json"]);
  expect(bad.code).toBe(1);
  const verdicts = bad.out.trimEnd().split("\n").map((line) => JSON.parse(line));
  expect(verdicts.filter(({ ok }) => !ok).map(({ offset }) => offset)).toEqual([measureImage(bytes)]);
  expect((await torpor(["explain"])).code).toBe(2);
});
