import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { once } from "node:events";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { LengthReader } from "../../../net/link/length_framing.ts";
import type { Link } from "../../../net/link/link.ts";
import { LinkError } from "../../../net/link/link_error.ts";
import { connectUnix, listenUnix, type UnixListener } from "../../../net/link/unix.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { RecordingSink, sendBytes, until } from "../../support/sink.ts";

/** One frame as it stands in the stream. */
function framed(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + bytes.length);
  new DataView(out.buffer).setUint32(0, bytes.length);
  out.set(bytes, 4);
  return out;
}

function randomFrames(prng: Prng, count: number, lengthMax: number): Uint8Array<ArrayBuffer>[] {
  return Array.from({ length: count }, () => {
    const bytes = new Uint8Array(prng.between(1, lengthMax));
    prng.fill(bytes);
    return bytes;
  });
}

function hex(frames: Uint8Array[]): string[] {
  return frames.map((frame) => Buffer.from(frame).toString("hex"));
}

test("LengthReader finds the same frames however the stream is cut: every single cut, and byte by byte", () => {
  const frames = [
    Uint8Array.of(1),
    new Uint8Array(60).fill(2),
    Uint8Array.of(3, 3, 3),
    new Uint8Array(30).fill(4),
  ];
  const stream = Buffer.concat([...frames.map(framed), framed(new Uint8Array(0)), framed(Uint8Array.of(5))]);
  const expected = [...hex(frames), "05"];
  const read = (cuts: number[]): string[] => {
    const got: Uint8Array[] = [];
    const reader = new LengthReader(60, (slab, start, end) => got.push(slab.bytes.slice(start, end)) > 0);
    let from = 0;
    for (const to of [...cuts, stream.length]) {
      const chunk = new Slab(new Uint8Array(stream.subarray(from, to)));
      expect(reader.read(chunk, to - from)).toBe(true);
      from = to;
    }
    expect(reader.insideFrame).toBe(false);
    return hex(got);
  };
  for (let cut = 0; cut <= stream.length; cut++) expect(read([cut]), `cut at ${cut}`).toEqual(expected);
  expect(read(Array.from({ length: stream.length }, (_, at) => at))).toEqual(expected);
  for (let seed = 1; seed <= 50; seed++) {
    const prng = new Prng(seed);
    const cuts = Array.from({ length: prng.below(20) }, () => prng.below(stream.length)).sort((a, b) =>
      a - b
    );
    expect(read(cuts), `seed ${seed}`).toEqual(expected);
  }
});

test("LengthReader takes the longest frame and refuses one byte more, saying where", () => {
  for (const cut of [0, 1, 3, 4, 5]) {
    const stream = new Uint8Array(Buffer.concat([framed(Uint8Array.of(7)), framed(new Uint8Array(61))]));
    const reader = (max: number): LengthReader => new LengthReader(max, () => true);
    const readAll = (target: LengthReader): void => {
      target.read(new Slab(stream.slice(0, 5 + cut)), 5 + cut);
      target.read(new Slab(stream.slice(5 + cut)), stream.length - 5 - cut);
    };
    readAll(reader(61));
    expect(() => readAll(reader(60)), `cut ${cut}`).toThrow(
      "Cannot read frame at byte 5 of the stream: its length is 61, the limit is 60",
    );
  }
});

test("LengthReader stops when its handler says so, inside a chunk and across chunks", () => {
  const stream = new Uint8Array(Buffer.concat([1, 2, 3].map((byte) => framed(Uint8Array.of(byte)))));
  for (let cut = 0; cut < 5; cut++) {
    let frames = 0;
    const reader = new LengthReader(10, () => ++frames < 1);
    const first = reader.read(new Slab(stream.slice(0, cut)), cut);
    expect(first).toBe(true);
    expect(reader.read(new Slab(stream.slice(cut)), stream.length - cut)).toBe(false);
    expect(frames).toBe(1);
  }
});

type Pair = { near: Link; far: Link; atNear: RecordingSink; atFar: RecordingSink; listener: UnixListener };

async function linkPair(folder: TemporaryFolder, mtu = 1500): Promise<Pair> {
  const path = folder.file("link");
  let near: Link | undefined;
  const atNear = new RecordingSink();
  const listener = await listenUnix({
    path,
    mtu,
    onLink: (link) => {
      near = link;
      link.open(atNear);
    },
  });
  const far = await connectUnix({ path, mtu });
  const atFar = new RecordingSink();
  far.open(atFar);
  await until(() => near !== undefined, "the link to be accepted");
  return { near: near!, far, atNear, atFar, listener };
}

test("unix links carry frames both ways, byte-exact, and count them", async () => {
  using folder = new TemporaryFolder();
  const { near, far, atNear, atFar, listener } = await linkPair(folder, 9000);
  const prng = new Prng(5);
  const sent = [randomFrames(prng, 200, 9018), randomFrames(prng, 200, 9018)];
  for (let at = 0; at < 200; at++) {
    expect(sendBytes(near, sent[0]![at]!) && sendBytes(far, sent[1]![at]!)).toBe(true);
    if (prng.chance(0.1)) {
      near.flush();
      far.flush();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
  near.flush();
  far.flush();
  await until(() => atNear.frames.length === 200 && atFar.frames.length === 200, "all frames");
  expect(atFar.hex).toEqual(hex(sent[0]!));
  expect(atNear.hex).toEqual(hex(sent[1]!));
  expect(near.counters).toMatchObject({ framesOut: 200, framesIn: 200, dropsIn: 0, dropsOut: 0 });
  expect(near.counters.bytesOut).toBe(far.counters.bytesIn);
  far.close();
  await until(() => atNear.ends.length + atFar.ends.length === 2, "both ends to be told");
  expect([atNear.ends, atFar.ends]).toEqual([[undefined], [undefined]]);
  expect(sendBytes(near, [1])).toBe(false);
  await listener.close();
  expect(existsSync(listener.path)).toBe(false);
});

test("a unix link delivers what was sent before close()", async () => {
  using folder = new TemporaryFolder();
  const { near, atFar, listener } = await linkPair(folder);
  for (let frame = 0; frame < 50; frame++) sendBytes(near, [frame]);
  near.close();
  await until(() => atFar.ends.length === 1, "the end");
  expect(atFar.frames.length).toBe(50);
  await listener.close();
});

test("a unix link takes the longest frame and drops one byte more", async () => {
  using folder = new TemporaryFolder();
  const { near, far, atFar, listener } = await linkPair(folder);
  expect(sendBytes(near, new Uint8Array(1518))).toBe(true);
  expect(sendBytes(near, new Uint8Array(1519))).toBe(false);
  expect(near.counters).toMatchObject({ framesOut: 1, dropsOut: 1 });
  near.flush();
  await until(() => atFar.frames.length === 1, "the frame");
  near.close();
  far.close();
  await listener.close();
});

/** A plain socket, connected to a link. */
async function rawPeer(
  folder: TemporaryFolder,
): Promise<{ socket: Socket; sink: RecordingSink; link: Link; end(): Promise<void> }> {
  const path = folder.file("raw");
  const sink = new RecordingSink();
  let link: Link | undefined;
  const listener = await listenUnix({ path, onLink: (arrived) => (link = arrived).open(sink) });
  const socket = connect({ path });
  await once(socket, "connect");
  await until(() => link !== undefined, "the link");
  return {
    socket,
    sink,
    link: link!,
    end: async () => {
      socket.destroy();
      link!.close();
      await listener.close();
    },
  };
}

test("a unix link ends with an error when a length is above the limit", async () => {
  using folder = new TemporaryFolder();
  const { socket, sink, link, end } = await rawPeer(folder);
  socket.write(framed(new Uint8Array(1518)));
  await until(() => sink.frames.length === 1, "the longest frame");
  socket.write(framed(new Uint8Array(1519)));
  await until(() => sink.ends.length === 1, "the end");
  expect(sink.ends[0]).toBeInstanceOf(LinkError);
  expect(sink.ends[0]).toMatchObject({ code: "protocol" });
  expect(sink.ends[0]!.message).toBe(
    "Cannot read frame at byte 1522 of the stream: its length is 1519, the limit is 1518",
  );
  expect(link.counters.dropsIn).toBe(1);
  await end();
});

test("a unix link that ends inside a frame says so", async () => {
  using folder = new TemporaryFolder();
  const { socket, sink, link, end } = await rawPeer(folder);
  socket.end(framed(Uint8Array.of(1, 2, 3)).subarray(0, 6));
  await until(() => sink.ends.length === 1, "the end");
  expect(sink.ends[0]!.message).toBe("The far end closed the stream inside a frame");
  expect(link.counters.dropsIn).toBe(1);
  await end();
});

test("a unix link drops and counts when the far end does not read, and close() still ends it", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("stuck");
  const sockets: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
  });
  server.listen(path);
  await once(server, "listening");
  const link = await connectUnix({ path });
  const sink = new RecordingSink();
  link.open(sink);
  let accepted = 0;
  const frame = Slab.of(1500);
  for (let batch = 0; batch < 100; batch++) {
    for (let index = 0; index < 100; index++) if (link.send(frame, 0, 1500)) accepted++;
    link.flush();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  expect(accepted).toBeGreaterThan(100);
  expect(accepted * 1504).toBeLessThan(8 << 20); // 2 MB of ours and what the kernel holds
  expect(link.counters.framesOut).toBe(accepted);
  expect(link.counters.dropsOut).toBe(10_000 - accepted);
  link.close();
  await until(() => sink.ends.length === 1, "the end");
  for (const socket of sockets) socket.destroy();
  server.close();
});

test("listenUnix() replaces a socket file nobody answers on, and no other", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("link");
  const onLink = (link: Link): void => void link.close();
  const first = await listenUnix({ path, onLink });
  await expect(listenUnix({ path, onLink })).rejects.toMatchObject({ name: "LinkError", code: "busy" });
  expect(existsSync(path)).toBe(true);
  await first.close();

  const plain = folder.file("plain");
  writeFileSync(plain, "precious");
  await expect(listenUnix({ path: plain, onLink })).rejects.toMatchObject({ code: "busy" });
  expect(existsSync(plain)).toBe(true);

  const missing = folder.file("no/such/folder");
  await expect(listenUnix({ path: missing, onLink })).rejects.toMatchObject({ name: "LinkError" });
});

judge("listenUnix() replaces the file of a listener that was killed", ["python3"], async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("link");
  const child = python(
    `
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print("up", flush=True); time.sleep(60)`,
    [path],
  );
  await once(child.stdout!, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(existsSync(path)).toBe(true);
  const listener = await listenUnix({ path, onLink: (link) => link.close() });
  await listener.close();
  expect(existsSync(path)).toBe(false);
});

test("listenUnix() and connectUnix() obey their signals", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("link");
  const controller = new AbortController();
  const listener = await listenUnix({ path, signal: controller.signal, onLink: (link) => link.close() });
  controller.abort();
  await listener.close();
  expect(existsSync(path)).toBe(false);
  await expect(connectUnix({ path, signal: controller.signal })).rejects.toMatchObject({
    name: "AbortError",
  });
  await expect(connectUnix({ path })).rejects.toMatchObject({ name: "LinkError", code: "missing" });
});

function python(source: string, args: string[]): ChildProcess {
  return spawn("python3", ["-c", source, ...args], { stdio: ["ignore", "pipe", "inherit"] });
}

judge("python, speaking the framing by hand, gets every frame back byte-exact", ["python3"], async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("link");
  const links: Link[] = [];
  const listener = await listenUnix({
    path,
    onLink: (link) => {
      links.push(link);
      link.open({
        receive: (slab, start, end) => void link.send(slab, start, end),
        flush: () => link.flush(),
        closed: () => {},
      });
    },
  });
  const child = python(
    `
import random, socket, struct, sys
random.seed(7)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
frames = [random.randbytes(random.randint(1, 1518)) for _ in range(300)]
stream = b"".join(struct.pack(">I", len(f)) + f for f in frames)
got = b""
at = 0
while at < len(stream):
    n = random.choice([1, 2, 3, 5, 700, 4000, 60000])
    s.sendall(stream[at:at+n]); at += n
while len(got) < len(stream):
    part = s.recv(65536)
    if not part: break
    got += part
print("equal" if got == stream else "different", flush=True)`,
    [path],
  );
  let output = "";
  child.stdout!.on("data", (data: Buffer) => output += data.toString());
  const [code] = await once(child, "exit") as [number];
  expect(code).toBe(0);
  await until(() => output !== "", "python's verdict");
  expect(output.trim()).toBe("equal");
  for (const link of links) link.close();
  await listener.close();
});

test("a path that is too long for a unix socket is refused: Node would cut it, and listen somewhere else", async () => {
  using temporary = new TemporaryFolder();
  const fits = temporary.file("x".repeat(107 - `${temporary.path}/`.length));
  expect(new TextEncoder().encode(fits)).toHaveLength(107);
  const listener = await listenUnix({ path: fits, onLink: (link) => link.close() });
  (await connectUnix({ path: fits })).close();
  await listener.close();
  const path = `${fits}x`;
  const refused = { name: "LinkError", code: "io", message: expect.stringContaining("107 bytes") };
  await expect(listenUnix({ path, onLink: () => {} })).rejects.toMatchObject(refused);
  await expect(connectUnix({ path })).rejects.toMatchObject(refused);
  expect(existsSync(fits)).toBe(false);
});
