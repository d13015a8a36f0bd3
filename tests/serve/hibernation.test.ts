import { expect, test } from "vitest";
import type { TcpConn } from "../../net/socket/types.ts";
import { serveHttp } from "../../serve/http/http_server.ts";
import type { HttpService } from "../../serve/http/http_server.ts";
import type { HttpServerOptions } from "../../serve/http/http_server.ts";
import { uncaught, writeAll } from "../net/socket/world.ts";
import { SleepWorld } from "../checkpoint/sleep_world.ts";
import { ACCEPT, clientFrame, serverFrames, UPGRADE } from "./websocket_client.ts";

interface Member {
  name: string;
  said: number;
}

/** A client whose bytes are gathered while time passes. */
class Peer {
  readonly #world: SleepWorld;
  readonly #conn: TcpConn;
  #bytes: number[] = [];
  over = "";

  private constructor(world: SleepWorld, conn: TcpConn) {
    this.#world = world;
    this.#conn = conn;
    const buffer = new Uint8Array(65_536);
    void (async () => {
      for (let count; (count = await conn.read(buffer)) !== null;) {
        this.#bytes.push(...buffer.subarray(0, count));
      }
      this.over = "end";
    })().catch((error) => void (this.over = error.name));
  }

  static async connect(world: SleepWorld): Promise<Peer> {
    const opening = world.client.connect({ hostname: "10.0.0.1", port: 80 });
    await world.clock.advance(100);
    return new Peer(world, await opening);
  }

  async say(bytes: Uint8Array | string): Promise<void> {
    await writeAll(this.#conn, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
    await this.pass(100);
  }

  close(): void {
    this.#conn.close();
  }

  async pass(ms: number): Promise<void> {
    for (let step = 0; step < 4; step++) { // handlers wait for promises between two moments
      await this.#world.clock.advance(ms / 4);
      await new Promise((resolve) => void setTimeout(resolve, 0));
    }
  }

  take(): Uint8Array {
    return Uint8Array.from(this.#bytes.splice(0));
  }
  text(): string {
    return new TextDecoder().decode(this.take());
  }
  frames(): string[] {
    return serverFrames(this.take());
  }
}

/** A chat that counts what each has said, in the connection's attachment. */
function chat(world: SleepWorld, more: Partial<HttpServerOptions<Member>> = {}) {
  const log: string[] = [];
  const service: HttpService<Member> = serveHttp<Member>(world.process.host, {
    port: 80,
    durable: false,
    fetch(request, client) {
      const { pathname } = new URL(request.url);
      if (pathname === "/chat") {
        client.attachment = { name: "ann", said: 0 };
        return client.upgrade();
      }
      if (pathname === "/events") {
        client.attachment = { name: "eve", said: 0 };
        return client.events();
      }
      const count = (client.attachment?.said ?? 0) + 1;
      client.attachment = { name: "req", said: count };
      return new Response(`${pathname} ${count}`);
    },
    webSocket: {
      open: (client) => void log.push(`open ${client.attachment.name}`),
      message(client, message) {
        client.attachment.said++;
        client.send(`${client.attachment.name} ${client.attachment.said}: ${message}`);
      },
      close: (client, code, reason) => void log.push(`close ${client.attachment.name} ${code} ${reason}`),
      messageBytesMax: 100_000,
    },
    events: { close: (client) => void log.push(`left ${client.attachment.name}`) },
    ...more,
  });
  return { service, log };
}

async function asleep(world: SleepWorld): Promise<void> {
  await world.clock.advance(5_000);
  if (world.process.host.counts.awake > 0) await world.clock.advance(130_000); // in FIN-WAIT-2 and the like
  expect(world.process.host.counts, "asleep").toMatchObject({ awake: 0, waking: 0 });
}

/** Puts all to sleep, kills the process, and starts another one. */
async function kill(world: SleepWorld): Promise<void> {
  await asleep(world);
  world.process.kill();
  world.start();
}

async function upgraded(world: SleepWorld): Promise<Peer> {
  const peer = await Peer.connect(world);
  await peer.say(UPGRADE());
  expect(peer.text()).toBe(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${ACCEPT}\r\n\r\n`,
  );
  return peer;
}

test("a WebSocket and what is attached to it live through sleep and kill -9; pings wake nobody (RFC 6455)", async () => {
  const world = new SleepWorld();
  world.start();
  const { log } = chat(world);
  const peer = await upgraded(world);
  await peer.say(clientFrame(1, "hello"));
  expect(peer.frames()).toEqual(["1 ann 1: hello"]);
  for (let round = 2; round < 5; round++) {
    await kill(world);
    const { service } = chat(world);
    await peer.say(clientFrame(9, "are you there"));
    expect(peer.frames()).toEqual(["10 are you there"]);
    expect(service.answers).toBe(1);
    await asleep(world);
    await peer.say(clientFrame(1, `round ${round}`));
    expect(peer.frames()).toEqual([`1 ann ${round}: round ${round}`]);
    await asleep(world);
    for (const id of service.connections()) expect(service.send(id, "good morning")).toBe(true);
    await peer.pass(100);
    expect(peer.frames()).toEqual(["1 good morning"]);
  }
  expect(log).toEqual(["open ann"]);
  expect(peer.over).toBe("");
});

test("a message sleeps in the middle of any of its bytes, also through kill -9, and comes once and whole", async () => {
  const message = [
    clientFrame(1, "frag", { fin: false }),
    clientFrame(9, "x"),
    clientFrame(0, "men", { fin: false }),
    clientFrame(0, "ted é"),
  ];
  const all = Uint8Array.from(message.flatMap((each) => [...each]));
  for (let cut = 1; cut < all.length; cut += 3) {
    const world = new SleepWorld();
    world.start();
    chat(world);
    const peer = await upgraded(world);
    await peer.say(all.subarray(0, cut));
    await kill(world);
    chat(world);
    await peer.say(all.subarray(cut));
    expect(peer.frames(), `cut at ${cut}`).toEqual(["10 x", "1 ann 1: fragmented é"]);
  }
});

test("the closing handshake: the peer's, ours, ours asleep, and none (RFC 6455 section 7)", async () => {
  const world = new SleepWorld();
  world.start();
  const { service, log } = chat(world);
  const theirs = await upgraded(world);
  await asleep(world);
  await theirs.say(clientFrame(8, Uint8Array.of(0x0f, 0xa0, 98, 121, 101)));
  expect(theirs.frames()).toEqual(["8 4000"]);
  expect(theirs.over).toBe("end");
  const ours = await upgraded(world);
  await asleep(world);
  for (const each of service.connections()) {
    service.with(each, (client) => "ping" in client && client.close(3001, "enough"));
  }
  await ours.pass(100);
  expect(ours.frames()).toEqual(["8 3001 enough"]);
  await kill(world); // and the peer answers to another process
  const second = chat(world);
  await ours.say(clientFrame(1, "too late"));
  await ours.say(clientFrame(8, Uint8Array.of(0x0b, 0xb9)));
  expect([ours.frames(), ours.over]).toEqual([[], "end"]);
  const silent = await upgraded(world);
  silent.close();
  await silent.pass(100);
  expect(log).toEqual(["open ann", "close ann 4000 bye", "open ann"]);
  expect(second.log).toEqual(["close ann 3001 ", "open ann", "close ann 1006 "]);
});

test("what no client may send ends a WebSocket with the code that says why (RFC 6455 sections 5 and 7.4)", async () => {
  const cases: [name: string, sent: Uint8Array[], code: number][] = [
    ["no mask", [clientFrame(1, "x", { masked: false })], 1002],
    ["a reserved bit", [clientFrame(1, "x", { reserved: 4 })], 1002],
    ["a reserved opcode", [clientFrame(3, "x")], 1002],
    ["a reserved control opcode", [clientFrame(11, "x")], 1002],
    ["a continuation of nothing", [clientFrame(0, "x")], 1002],
    ["a message inside another", [clientFrame(1, "x", { fin: false }), clientFrame(1, "y")], 1002],
    ["a ping in fragments", [clientFrame(9, "x", { fin: false })], 1002],
    ["a ping of 126 bytes", [clientFrame(9, "x".repeat(126))], 1002],
    ["text that is not UTF-8", [clientFrame(1, Uint8Array.of(0xc3, 0x28))], 1007],
    ["text cut inside a character", [
      clientFrame(1, Uint8Array.of(0xc3), { fin: false }),
      clientFrame(0, "x"),
    ], 1007],
    ["more than is taken", [clientFrame(2, new Uint8Array(100_001))], 1009],
    ["more in fragments", [
      clientFrame(2, new Uint8Array(60_000), { fin: false }),
      clientFrame(0, new Uint8Array(60_000)),
    ], 1009],
    ["a close code that is none", [clientFrame(8, Uint8Array.of(3, 0xed))], 1002],
    ["half a close code", [clientFrame(8, Uint8Array.of(3))], 1002],
    ["a close reason that is not UTF-8", [clientFrame(8, Uint8Array.of(3, 0xe8, 0xff))], 1007],
  ];
  for (const [name, sent, code] of cases) {
    const world = new SleepWorld();
    world.start();
    const { log } = chat(world);
    const peer = await upgraded(world);
    for (const each of sent) await peer.say(each);
    const frames = peer.frames();
    expect(frames.length, name).toBe(1);
    expect(frames[0], name).toMatch(new RegExp(`^8 ${code}`));
    await peer.pass(100);
    expect(peer.over, name).toMatch(/^(end|ConnectionReset)$/);
    expect(log[1], name).toMatch(new RegExp(`^close ann ${code} `));
  }
});

test("a request for WebSocket that is none is told what it lacks, and the connection goes on", async () => {
  const world = new SleepWorld();
  world.start();
  chat(world);
  const peer = await Peer.connect(world);
  await peer.say(UPGRADE().replace("Version: 13", "Version: 8"));
  expect(peer.text()).toMatch(/^HTTP\/1.1 426 Upgrade Required\r\n[^]*sec-websocket-version: 13\r\n/);
  await peer.say(UPGRADE().replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="));
  expect(peer.text()).toMatch(/^HTTP\/1.1 400 /);
  await peer.say("GET /page HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(peer.text()).toMatch(/\/page 1$/);
  await peer.say(UPGRADE());
  expect(peer.text()).toMatch(/^HTTP\/1.1 101 /);
  await peer.say(clientFrame(1, "after all"));
  expect(peer.frames()).toEqual(["1 ann 1: after all"]);
});

test("HTTP keep-alive: the connection sleeps between requests and inside a head, and counts on through kill -9", async () => {
  const world = new SleepWorld();
  world.start();
  chat(world);
  const peer = await Peer.connect(world);
  for (let round = 1; round < 4; round++) {
    await peer.say(`GET /${round} HTTP/1.1\r\nHo`);
    expect(peer.text()).toBe("");
    await kill(world);
    chat(world);
    await peer.say("st: a\r\n\r\n");
    expect(peer.text()).toMatch(new RegExp(`^HTTP/1.1 200 OK\r\n[^]*\r\n\r\n/${round} ${round}$`));
    await kill(world);
    chat(world);
  }
  expect(peer.over).toBe("");
});

test("a request whose process ends is answered by the next one with 503; one whose answer had begun is reset", async () => {
  const world = new SleepWorld();
  world.start();
  chat(world, { fetch: () => new Promise<Response>(() => {}) });
  const peer = await Peer.connect(world);
  await peer.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
  await kill(world);
  chat(world);
  await peer.say("GET /impatient HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(peer.text()).toBe(
    "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 0\r\nconnection: close\r\n\r\n",
  );
  const begun = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode("half")),
  });
  world.process.kill();
  world.start();
  chat(world, { fetch: () => new Response(begun) });
  const other = await Peer.connect(world);
  await other.say("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(other.text()).toMatch(/half\r\n$/);
  await kill(world);
  chat(world);
  await other.say("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
  expect([other.text(), other.over]).toEqual(["", "ConnectionReset"]);
});

test("an event stream goes on through sleep and kill -9, and its end is told", async () => {
  const world = new SleepWorld();
  world.start();
  chat(world);
  const peer = await Peer.connect(world);
  await peer.say("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
  expect(peer.text()).toBe(
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n",
  );
  await kill(world);
  const { service, log } = chat(world);
  for (const id of service.connections()) {
    service.send(id, { data: "two\nlines", event: "news", id: "7", retry: 50 });
  }
  await peer.pass(100);
  expect(peer.text()).toBe(
    "33\r\nevent: news\nid: 7\nretry: 50\ndata: two\ndata: lines\n\n\r\n",
  );
  await asleep(world);
  peer.close();
  await peer.pass(100);
  expect(log).toEqual(["left eve"]);
});

test("new code takes over what the old has attached: migrate is called once, and without it the connection ends", async () => {
  const world = new SleepWorld();
  world.start();
  chat(world);
  const peer = await upgraded(world);
  await peer.say(clientFrame(1, "hello"));
  expect(peer.frames()).toEqual(["1 ann 1: hello"]);
  await kill(world);
  const calls: unknown[] = [];
  interface Renamed {
    nickname: string;
    count: number;
  }
  const second = (): HttpService<Renamed> =>
    serveHttp<Renamed>(world.process.host, {
      port: 80,
      version: 2,
      migrate(attachment, version) {
        calls.push([attachment, version]);
        const { name, said } = attachment as Member;
        return { nickname: name, count: said };
      },
      fetch: () => new Response("new"),
      webSocket: {
        message: (client, text) =>
          void client.send(`${client.attachment.nickname} ${++client.attachment.count} ${text}`),
      },
    });
  second();
  await peer.say(clientFrame(1, "new code"));
  await kill(world);
  second();
  await peer.say(clientFrame(1, "again"));
  expect(peer.frames()).toEqual(["1 ann 2 new code", "1 ann 3 again"]);
  expect(calls).toEqual([[{ name: "ann", said: 1 }, 0]]);
  await kill(world);
  const thrown = uncaught();
  chat(world); // the old code again, which cannot
  await peer.say(clientFrame(1, "old code"));
  expect(peer.over).toBe("ConnectionReset");
  expect(thrown.map(String)).toEqual([
    expect.stringMatching(
      /^TypeError: Cannot take connection .* over: its attachment is of version 2, need 0$/,
    ),
    expect.stringMatching(/version 2, need 0$/), // as its end is told
  ]);
});

test("attachments have a limit, when they are set and when they grow in place", async () => {
  const world = new SleepWorld();
  world.start();
  const thrown = uncaught();
  let size = 0;
  chat(world, {
    attachmentBytesMax: 100,
    webSocket: {
      message(client) {
        if (size > 0) client.attachment.name = "x".repeat(size);
        client.send("ok");
      },
    },
  });
  const peer = await upgraded(world);
  size = 80;
  await peer.say(clientFrame(1, "a"));
  expect([peer.frames(), peer.over]).toEqual([["1 ok"], ""]);
  size = 100;
  await peer.say(clientFrame(1, "a"));
  expect(peer.over).toBe("ConnectionReset");
  expect(String(thrown[0])).toMatch(/^RangeError: Cannot attach 1\d\d bytes to .*: at most 100 are kept$/);
});

test("durable: a message is answered once, whenever the process is killed", async () => {
  const world = new SleepWorld();
  const start = (): void => {
    world.start({ idleMs: 1e9 }); // it never sleeps
    chat(world, { durable: true });
  };
  start();
  const peer = await upgraded(world);
  for (let round = 1; round < 6; round++) {
    await peer.say(clientFrame(1, `m${round}`));
    expect(peer.frames()).toEqual([`1 ann ${round}: m${round}`]);
    world.process.kill();
    start();
  }
});

test("what is attached is read from the images, and nobody wakes; other versions are migrated for the reader", async () => {
  const world = new SleepWorld();
  world.start();
  chat(world);
  const peers = [await upgraded(world), await upgraded(world), await Peer.connect(world)];
  await peers[0]!.say(clientFrame(1, "hello"));
  await peers[2]!.say("GET /page HTTP/1.1\r\nHost: a\r\n\r\n");
  await kill(world);
  const { service } = chat(world);
  const all = [...service.attachments()].sort(([, a], [, b]) => b.said - a.said);
  expect(all.map(([, attachment]) => attachment)).toEqual([{ name: "ann", said: 1 }, {
    name: "ann",
    said: 0,
  }]);
  expect(world.process.host.counts).toMatchObject({ awake: 0, asleep: 3 });
  expect(world.process.host.sleeper.stats.restores).toBe(0);
  service.with(all[0]![0], (client) => void client.attachment.said++);
  await peers[0]!.pass(100);
  const again = [...service.attachments()].find(([id]) => id === all[0]![0])!;
  expect(again[1]).toEqual({ name: "ann", said: 2 }); // awake
  service.close();
  const renamed = serveHttp<string>(world.process.host, {
    port: 80,
    version: 3,
    migrate: (attachment) => (attachment as Member).name.toUpperCase(),
    fetch: () => new Response(),
    webSocket: { message() {} },
  });
  expect([...renamed.attachments()].map(([, name]) => name)).toEqual(["ANN", "ANN"]);
});

test("a connection sleeps while it is answered, between two pieces of an answer, and while nobody reads its body", async () => {
  const world = new SleepWorld();
  world.start();
  const waiting: (() => void)[] = [];
  const turn = (): Promise<void> => new Promise((resolve) => void waiting.push(resolve));
  let length = 0;
  chat(world, {
    async fetch(request) {
      const { pathname } = new URL(request.url);
      await turn();
      if (pathname === "/long") return new Response("at last");
      if (pathname === "/body") {
        for await (const piece of request.body!) {
          length += piece.length;
          if (length === piece.length) await turn();
        }
        return new Response(`${length}`);
      }
      let part = 0;
      return new Response(
        new ReadableStream({
          async pull(controller) {
            if (part > 0) await turn();
            if (part === 3) return controller.close();
            controller.enqueue(new TextEncoder().encode(`part${part++}`));
          },
        }, { highWaterMark: 0 }),
      );
    },
  });
  const peer = await Peer.connect(world);
  const goOn = async (): Promise<void> => {
    await asleep(world);
    waiting.shift()!();
    await peer.pass(100);
    await peer.pass(100);
  };
  await peer.say("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
  await goOn();
  expect(peer.text()).toMatch(/^HTTP\/1.1 200 [^]*at last$/);
  await peer.say("GET /stream HTTP/1.1\r\nHost: a\r\n\r\nGET /long HTTP/1.1\r\nHost: a\r\n\r\n");
  await goOn();
  expect(peer.text()).toMatch(/part0\r\n$/);
  await goOn();
  expect(peer.text()).toBe("5\r\npart1\r\n");
  await goOn();
  expect(peer.text()).toBe("5\r\npart2\r\n");
  await goOn();
  expect(peer.text()).toBe("0\r\n\r\n");
  await goOn(); // the request that was behind it
  expect(peer.text()).toMatch(/^HTTP\/1.1 200 [^]*at last$/);
  const upload = 3_000_000;
  void peer.say(`PUT /body HTTP/1.1\r\nHost: a\r\nContent-Length: ${upload}\r\n\r\n${"x".repeat(upload)}`);
  await peer.pass(5_000);
  expect(length).toBe(0);
  await goOn();
  expect(length).toBeGreaterThan(0);
  expect(length).toBeLessThan(upload);
  expect(peer.text()).toBe("");
  await goOn();
  for (let round = 0; round < 200 && length < upload; round++) await peer.pass(1_000);
  await peer.pass(1_000);
  expect(peer.text()).toMatch(new RegExp(`\r\n${upload}$`));
  expect(peer.over).toBe("");
});
