import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { fromCriu, toCriu } from "../../../checkpoint/criu/convert.ts";
import { CriuError } from "../../../checkpoint/criu/criu_error.ts";
import {
  type CriuSocket,
  decodeFiles,
  decodeTcpStream,
  encodeFiles,
  encodeTcpStream,
} from "../../../checkpoint/criu/image_files.ts";
import { TCP_STREAM_ENTRY } from "../../../checkpoint/criu/messages.ts";
import {
  decodeMessage,
  encodeMessage,
  field,
  type Message,
  ProtobufError,
} from "../../../checkpoint/criu/protobuf.ts";
import { readSocketImage, writeSocketImage } from "../../../checkpoint/sockets/socket_image.ts";
import { idOf } from "../../../checkpoint/sockets/stored.ts";
import { FrozenFlag, type FrozenTcb, frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { tcpStateNames } from "../../../net/tcp/tcb.ts";
import { tcpSend } from "../../../net/tcp/user.ts";
import { SleepyPeer } from "../../net/wake/sleepy_peer.ts";
import { torpor } from "../../cli/run.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { drawSeed } from "../../support/seed.ts";
import { fillStore, frozenPeer } from "../sockets/sleepers.ts";

const seed = drawSeed("CRIU_SEED", 2 ** 31);
const folder = new TemporaryFolder();
afterAll(() => folder[Symbol.dispose]());

const at = (name: string): number => frozenTcbFields.indexOf(name);
const CRIU_STATES = ["established", "finWait1", "finWait2", "closeWait", "closing", "lastAck"];
/** What comes back as it went. */
const KEPT = [
  ...[
    "localAddress",
    "remoteAddress",
    "localPort",
    "remotePort",
    "state",
    "sndUna",
    "sndWnd",
    "sndWndMaxAbove",
  ],
  ...["sndWl1Behind", "sndShift", "peerMss", "rcvNxt", "rcvAdvOffset", "rcvShift", "lastAckSentBehind"],
  ...[
    "keepAliveProbes",
    "sendBufferBytes",
    "receiveBufferBytes",
    "sndMaxOffset",
    "sendQueue",
    "receiveQueue",
  ],
];

/** A connection in any state, with data in flight, unsent and unread, and all kinds of options. */
function drawn(prng: Prng, index: number): FrozenTcb {
  const tcb = frozenPeer(index, prng) as unknown[];
  const set = (name: string, value: unknown): void => void (tcb[at(name)] = value);
  const state = prng.pick(CRIU_STATES);
  set("state", tcpStateNames.indexOf(state));
  const fin = !["established", "closeWait"].includes(state);
  const finReceived = ["closeWait", "closing", "lastAck"].includes(state);
  if (state === "finWait2") set("sendQueue", new Uint8Array(0));
  const queued = (tcb[at("sendQueue")] as Uint8Array).length;
  const flying = state === "finWait2" ? 0 : prng.below(queued + 1);
  // A FIN that has not left is the one thing that a socket in TCP_REPAIR cannot have.
  const finOut = fin && state !== "finWait2" && flying === queued ? 1 : 0;
  set("sndMaxOffset", flying + finOut);
  set("sent", []);
  set("sndUna", prng.below(2 ** 32));
  set("sndWnd", prng.below(2 ** 30));
  set("sndWndMaxAbove", prng.chance(0.5) ? 0 : 3);
  set("sndWl1Behind", prng.below(1_000));
  set("rcvAdvOffset", prng.below(100_000));
  set("lastAckSentBehind", prng.below(1_000));
  const scaled = prng.chance(0.7);
  set("rcvShift", scaled ? prng.below(15) : -1);
  set("sndShift", scaled ? prng.below(15) : 0);
  set("tsOffset", prng.below(2 ** 32));
  set("peerMss", prng.between(100, 9_000));
  set("sndMssBelow", 12);
  set("sendBufferBytes", prng.pick([2 ** 20, 100_000]));
  set("options", prng.pick([[], [1]]));
  set("keepAliveProbes", prng.between(1, 20));
  const flag = (bit: number): number => prng.chance(0.5) ? bit : 0;
  set(
    "flags",
    (fin ? FrozenFlag.finQueued : 0) | (finReceived ? FrozenFlag.finReceived : 0) | flag(FrozenFlag.noDelay) |
      flag(FrozenFlag.sackPermitted) | flag(FrozenFlag.timestamps) | flag(FrozenFlag.keepAlive),
  );
  return tcb as FrozenTcb;
}

/** Through the bytes of both images. */
function throughFiles(socket: CriuSocket): CriuSocket {
  const [file] = decodeFiles(encodeFiles([socket.file]));
  return { file: file!, ...decodeTcpStream(encodeTcpStream(socket)) };
}

test("ours to CRIU's and back keeps all that CRIU can hold, in every state", () => {
  const prng = new Prng(seed);
  const states = new Set<unknown>();
  for (let run = 0; run < 500; run++) {
    const tcb = drawn(prng, run);
    const label = `seed ${seed}, run ${run}`;
    const nowMs = (tcb[at("frozenAtMs")] as number) + prng.below(1_000_000);
    const back = fromCriu(throughFiles(toCriu({ tcb, attachment: { gone: true } }, run + 1)), nowMs);
    const read = readSocketImage(writeSocketImage(back.tcb, back.attachment)); // it is one that can be restored
    const some = (from: FrozenTcb): unknown[] => KEPT.map((name) => [name, from[at(name)]]);
    expect(some(read.tcb), label).toEqual(some(tcb));
    const flags = (from: FrozenTcb): number =>
      (from[at("flags")] as number) & ~(FrozenFlag.rttTiming | FrozenFlag.fullSegmentProven);
    expect(flags(read.tcb), label).toBe(flags(tcb));
    expect((read.tcb[at("options")] as number[])[0] ?? 0).toBe((tcb[at("options")] as number[])[0] ?? 0);
    if ((flags(tcb) & FrozenFlag.timestamps) !== 0) { // our clock goes on where it was
      const clock = (from: FrozenTcb): number =>
        ((from[at("frozenAtMs")] as number) + (from[at("tsOffset")] as number)) % 2 ** 32;
      expect(clock(read.tcb), label).toBe(clock(tcb));
    }
    expect(read.attachment).toBeUndefined();
    states.add(tcb[at("state")]);
  }
  expect(states.size).toBe(CRIU_STATES.length);
});

test("a connection that went through CRIU's images goes on: what was in flight is sent again, what was not leaves", () => {
  const before = new SleepyPeer();
  before.open({ window: 64_000, sack: true });
  const data = Uint8Array.from({ length: 30_000 }, (_, byte) => byte * 7);
  tcpSend(before.stack.tcp, before.tcb, data, 0, data.length);
  before.poll();
  const flying = before.take().reduce((sum, { data: part }) => sum + part!.length, 0);
  expect(flying).toBeGreaterThan(5_000);
  expect(flying).toBeLessThan(data.length);
  const una = before.tcb.sndUna, next = before.tcb.rcvNxt;
  before.sleep();
  const after = new SleepyPeer({}, 2);
  const { tcb } = fromCriu(throughFiles(toCriu({ tcb: before.frozen!, attachment: 1 }, 1)), after.nowMs);
  after.adopt(readSocketImage(writeSocketImage(tcb, undefined)).tcb);
  expect(after.alive).toBe(true);
  const got = new Uint8Array(data.length);
  let have = 0;
  for (let turn = 0; turn < 200 && have < data.length; turn++) {
    if (!after.awake) after.wakeNow();
    after.pass(2_000);
    for (const { sequence, data: part } of after.take()) {
      const offset = (sequence - una) | 0;
      if (offset > have || offset + part!.length <= have) continue;
      got.set(part!, offset);
      have = offset + part!.length;
    }
    after.in({ sequence: next, acknowledgment: una + have, window: 64_000, tsVal: 1_000_900 + turn });
  }
  expect(Buffer.from(got).equals(Buffer.from(data))).toBe(true);
  after.take();
  after.in({ sequence: next, acknowledgment: una + have, data: Uint8Array.of(1, 2, 3), tsVal: 1_002_000 });
  after.pass(500);
  expect(after.take().at(-1)).toMatchObject({ acknowledgment: next + 3 });
  expect(after.tcb.receiveQueue.length).toBe(3);
});

test("what CRIU has no image of is refused by name, and so is what is no connection", () => {
  const prng = new Prng(1);
  for (const state of ["synReceived", "timeWait"]) {
    const tcb = drawn(prng, 1) as unknown[];
    tcb[at("state")] = tcpStateNames.indexOf(state);
    expect(() => toCriu({ tcb: tcb as FrozenTcb, attachment: undefined }, 1)).toThrow(state);
  }
  const good = toCriu({ tcb: drawn(prng, 1), attachment: undefined }, 1);
  const isk = good.file["isk"] as Record<string, unknown>;
  for (
    const [change, message] of [
      [{ proto: 17 }, "no TCP connection"],
      [{ state: 10 }, "state 10"],
      [{ family: 1 }, "no address of family 1"],
      [{ src_addr: [] }, "src_addr is no address"],
    ] as const
  ) {
    const file = { ...good.file, isk: { ...isk, ...change } } as CriuSocket["file"];
    expect(() => fromCriu({ ...good, file }, 0)).toThrow(message);
  }
});

test("images that are cut short, or others, are refused with the byte", () => {
  const good = toCriu({ tcb: drawn(new Prng(2), 1), attachment: undefined }, 1);
  const [files, stream] = [encodeFiles([good.file]), encodeTcpStream(good)];
  for (let end = 0; end < files.length; end++) {
    if (end === 8) continue; // no entries
    expect(() => decodeFiles(files.subarray(0, end)), `${end}`).toThrow(CriuError);
  }
  for (let end = 0; end < stream.length; end++) {
    expect(() => decodeTcpStream(stream.subarray(0, end)), `${end}`).toThrow(CriuError);
  }
  expect(() => decodeTcpStream(files)).toThrow("byte 4 is no magic number");
});

test("protobuf: every kind of field, packed numbers, unknown fields; and what is none", () => {
  const inner: Message = { name: "inner", fields: { word: field("required", "string", 1) } };
  const message: Message = {
    name: "outer",
    fields: {
      small: field("required", "uint32", 1),
      large: field("optional", "uint64", 2),
      yes: field("optional", "bool", 3),
      fixed: field("optional", "fixed64", 4),
      list: field("repeated", "uint32", 5),
      inner: field("optional", inner, 6),
      text: field("optional", "string", 200),
    },
  };
  const content = {
    ...{
      small: 0xffff_ffff,
      large: 2 ** 53 - 1,
      yes: true,
      fixed: 2 ** 40 + 1,
      list: [0, 127, 128, 2 ** 31],
    },
    ...{ inner: { word: "höher" }, text: "" },
  };
  expect(decodeMessage(message, encodeMessage(message, content))).toEqual(content);
  const packed = Uint8Array.of(0x08, 1, 0x2a, 3, 5, 0x80, 0x01);
  expect(decodeMessage(message, packed)).toEqual({ small: 1, list: [5, 128] });
  const unknown = Uint8Array.of(0x78, 5, 0x7a, 1, 9, 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7d, 1, 2, 3, 4, 0x08, 7);
  expect(decodeMessage(message, unknown)).toEqual({ small: 7 });
  for (const bad of [[], [0x08], [0x0a, 0], [0x08, 1, 0x32, 9], [0x0b], Array(12).fill(0xff)]) {
    expect(() => decodeMessage(message, Uint8Array.from(bad)), `${bad}`).toThrow(ProtobufError);
  }
  expect(() => encodeMessage(message, {})).toThrow('"small" is missing');
});

/** Runs Debian's crit. */
function crit(...args: string[]): string {
  return execFileSync("crit", args, { encoding: "utf8" });
}

judge("crit reads what we write: every field and both queues", "crit", () => {
  const prng = new Prng(seed);
  for (let run = 0; run < 6; run++) {
    const socket = toCriu({ tcb: drawn(prng, run), attachment: undefined }, 0xabc + run);
    const [files, stream] = [folder.file(`files ${run}.img`), folder.file(`stream ${run}.img`)];
    writeFileSync(files, encodeFiles([socket.file]));
    writeFileSync(stream, encodeTcpStream(socket));
    const told = JSON.parse(crit("decode", "-i", stream)) as {
      magic: string;
      entries: (Record<string, unknown> & { extra: { inq: string; outq: string } })[];
    };
    expect(told.magic).toBe("TCP_STREAM");
    const { extra, ...entry } = told.entries[0]!;
    expect({ ...entry, opt_mask: Number(entry["opt_mask"]) }, `seed ${seed}`).toEqual(socket.stream);
    expect([Buffer.from(extra.inq, "base64"), Buffer.from(extra.outq, "base64")]).toEqual([
      Buffer.from(socket.inq),
      Buffer.from(socket.outq),
    ]);
    const shown = JSON.parse(crit("decode", "--pretty", "-i", files)) as {
      magic: string;
      entries: { type: string; id: number; isk: Record<string, unknown> }[];
    };
    expect(shown.magic).toBe("FILES");
    const id = idOf(fromCriu(socket, 0));
    const { isk, type } = shown.entries[0]!;
    const [local, remote] = [isk["src_addr"], isk["dst_addr"]].map((addresses) =>
      (addresses as string[])[0]!
    );
    const end = (address: string | undefined, port: unknown): string =>
      address!.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
    expect(type).toBe("INETSK");
    expect(`${end(local, isk["src_port"])}-${end(remote, isk["dst_port"])}`).toBe(id);
    expect(isk).toMatchObject({ ino: 0xabc + run, proto: "TCP", type: "STREAM" });
  }
});

judge("what crit encodes is imported, by torpor criu import too; export gives it back", "crit", async () => {
  const images = folder.file("images");
  mkdirSync(images);
  const encode = (name: string, content: unknown): void => {
    writeFileSync(folder.file("in.json"), JSON.stringify(content));
    crit("encode", "-i", folder.file("in.json"), "-o", `${images}/${name}`);
  };
  const opts = {
    ...{ so_sndbuf: 87_040, so_rcvbuf: 131_072, so_snd_tmo_sec: 0, so_snd_tmo_usec: 0, so_rcv_tmo_sec: 0 },
    ...{
      so_rcv_tmo_usec: 0,
      reuseaddr: true,
      so_priority: 0,
      so_rcvlowat: 1,
      so_mark: 0,
      so_keepalive: true,
    },
  };
  const socket = (id: number, state: number, more: object): object => ({
    type: "INETSK",
    id,
    isk: {
      ...{
        id,
        ino: 0x1234 + id,
        family: 2,
        type: 1,
        proto: 6,
        state,
        src_port: 8_880,
        dst_port: 40_000 + id,
      },
      ...{ flags: "0x2", backlog: 0, src_addr: [0x0100_0a0a], dst_addr: [0x0200_0a0a] },
      fown: { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 },
      opts,
      ...more,
    },
  });
  encode("files.img", {
    magic: "FILES",
    entries: [
      {
        type: "REG",
        id: 9,
        reg: {
          id: 9,
          flags: "0x0",
          pos: 0,
          fown: { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 },
          name: "/bin/x",
        },
      },
      socket(1, 1, {}),
      socket(2, 10, {}), // listens: it has no stream
    ],
  });
  encode("tcp-stream-1235.img", {
    magic: "TCP_STREAM",
    entries: [{
      ...{ inq_len: 3, inq_seq: 1_000_003, outq_len: 5, outq_seq: 2_000_005, unsq_len: 2, opt_mask: "0x7" },
      ...{
        snd_wscale: 7,
        rcv_wscale: 6,
        mss_clamp: 1_460,
        timestamp: 777,
        snd_wl1: 1_000_000,
        snd_wnd: 65_000,
      },
      ...{ max_window: 66_000, rcv_wnd: 64_000, rcv_wup: 1_000_000, nodelay: true },
      extra: { inq: "YWJj\n", outq: "aGVsbG8=\n" },
    }],
  });
  const store = folder.file("imported");
  expect(await torpor(["criu", "import", images, store])).toMatchObject({
    code: 0,
    out: "10.10.0.1:8880-10.10.0.2:40001\n",
  });
  const listed = JSON.parse((await torpor(["store", "ls", store, "--json"])).out);
  expect(listed).toMatchObject({ state: "established", sendQueueBytes: 5, receiveQueueBytes: 3 });
  expect((await torpor(["store", "check", store])).code).toBe(0);
  expect(await torpor(["criu", "import", images, store])).toMatchObject({
    code: 2,
    err: expect.stringContaining("sleeps in"),
  });
  const out = folder.file("exported");
  expect((await torpor(["criu", "export", store, listed.id, out])).code).toBe(0);
  const given = decodeTcpStream(readFileSync(`${images}/tcp-stream-1235.img`));
  const again = decodeTcpStream(readFileSync(`${out}/tcp-stream-1.img`));
  expect({ ...again, stream: { ...again.stream, timestamp: 777 } }).toEqual(given);
});

test("torpor criu export: several at once; wrong use is exit code 2", async () => {
  const store = folder.file("some");
  await fillStore(store, new Prng(seed), 8);
  const { out } = await torpor(["store", "ls", store, "--json"]);
  const [first, second] = out.trim().split("\n").map((line) => JSON.parse(line).id as string);
  const to = folder.file("two");
  expect(await torpor(["criu", "export", store, first!, second!, to])).toMatchObject({
    code: 0,
    out: expect.stringContaining("2 connections written"),
  });
  const cases: [string[], string][] = [
    [["export", store, first!, to], "EEXIST"],
    [["export", store, "10.0.0.1:1-10.0.0.2:2", folder.file("none")], "no connection"],
    [["export", store, first!], "which folder, which connections"],
    [["import", to], "which images"],
    [["import", folder.file("nowhere"), store], "ENOENT"],
  ];
  for (const [args, message] of cases) {
    expect(await torpor(["criu", ...args]), message).toMatchObject({
      code: 2,
      err: expect.stringContaining(message),
    });
  }
  writeFileSync(`${to}/files.img`, "no image");
  expect((await torpor(["criu", "import", to, store])).err).toContain("byte 0 is no magic number");
  expect(TCP_STREAM_ENTRY.fields["rcv_wup"]!.number).toBe(17);
});
