import { EventEmitter, once } from "node:events";
import { Agent, createServer, type IncomingMessage, request, type RequestOptions } from "node:http";
import type { Duplex } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { SleepyHost } from "../../../checkpoint/host.ts";
import { MemoryStore } from "../../../checkpoint/store/mod.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import { connectNode, nodeServer, type StackSocket } from "../../../net/socket/stack_socket.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import {
  CLIENT,
  concat,
  difference,
  type Pair,
  patterned,
  readAll,
  realPair,
  refusal,
  SERVER,
  uncaught,
  writeAll,
} from "./world.ts";

/** A connected pair: a node socket at the client, a Deno connection at the server. */
async function halfNode(
  options: { allowHalfOpen?: boolean } = {},
): Promise<Pair & { socket: StackSocket; conn: TcpConn }> {
  const pair = realPair();
  const listener = pair.server.listen({ port: 80 });
  const accepted = listener.accept();
  const socket = connectNode(pair.client, { port: 80, host: SERVER, ...options });
  await once(socket, "connect");
  return { ...pair, socket, conn: await accepted };
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return concat(parts);
}

test("connect: buffered writes, addresses, events in order", async () => {
  const { server, client } = realPair();
  const listener = server.listen({ port: 80 });
  const socket = connectNode(client, { port: 80, host: SERVER });
  const events: string[] = [];
  for (const event of ["connect", "ready", "end", "close"]) socket.on(event, () => void events.push(event));
  expect([socket.connecting, socket.pending, socket.readyState]).toEqual([true, true, "opening"]);
  expect([socket.address(), socket.remoteAddress, socket.localPort]).toEqual([{}, undefined, undefined]);
  socket.setNoDelay(true).setKeepAlive(true, 5_000).ref().unref();
  socket.write("before the handshake");
  const conn = await listener.accept();
  const buffer = new Uint8Array(64);
  const count = await conn.read(buffer);
  expect(new TextDecoder().decode(buffer.subarray(0, count!))).toBe("before the handshake");
  expect([socket.connecting, socket.pending, socket.readyState]).toEqual([false, false, "open"]);
  expect(socket.address()).toEqual({ address: CLIENT, family: "IPv4", port: conn.remoteAddr.port });
  expect([socket.localAddress, socket.localPort]).toEqual([CLIENT, conn.remoteAddr.port]);
  expect([socket.remoteAddress, socket.remotePort, socket.remoteFamily]).toEqual([SERVER, 80, "IPv4"]);
  expect(socket.bytesWritten).toBe(20);
  conn.close();
  socket.resume();
  await once(socket, "close");
  expect(events).toEqual(["connect", "ready", "end", "close"]);
  expect(socket.readyState).toBe("closed");
});

test("a socket that is connected already says so when a client connects it", async () => {
  const { socket } = await halfNode();
  let called = 0;
  socket.connect(80, SERVER, () => void called++);
  expect(called).toBe(0);
  await once(socket, "ready");
  expect(called).toBe(1);
  socket.destroy();
});

test("a refused connection is an error with Node's code, and a close", async () => {
  const { client } = realPair();
  const socket = connectNode(client, { port: 9, host: SERVER });
  const [error] = await once(socket, "error");
  expect([error.code, error.syscall, socket.connecting]).toEqual(["ECONNREFUSED", "connect", false]);
  if (!socket.closed) await once(socket, "close");
});

test("destroying a socket that connects leaves nothing behind", async () => {
  const { server, client } = realPair();
  server.listen({ port: 80 });
  const socket = connectNode(client, { port: 80, host: SERVER });
  socket.destroy();
  await once(socket, "close");
  expect(client.stack.tcp.awake).toBe(0);
});

test("3 MB each way through both kinds of socket, counted", async () => {
  const { socket, conn } = await halfNode({ allowHalfOpen: true });
  const out = patterned(3_000_000);
  const back = patterned(3_000_000, 5);
  socket.end(out);
  const sending = writeAll(conn, back).then(() => conn.closeWrite());
  const [atServer, atClient] = await Promise.all([readAll(conn), collect(socket)]);
  await sending;
  expect([difference(atServer, out), difference(atClient, back)]).toEqual([-1, -1]);
  expect([socket.bytesWritten, socket.bytesRead]).toEqual([3_000_000, 3_000_000]);
});

test("the peer's end ends our side too, unless half-open sockets are allowed", async () => {
  const { socket, conn } = await halfNode();
  await conn.closeWrite();
  socket.resume();
  await once(socket, "close");
  expect(await readAll(conn)).toHaveLength(0); // it has closed its side without being asked
  const open = await halfNode({ allowHalfOpen: true });
  await open.conn.closeWrite();
  open.socket.resume();
  await once(open.socket, "end");
  expect(open.socket.readyState).toBe("writeOnly");
  open.socket.end("still here");
  expect(await readAll(open.conn)).toHaveLength(10);
});

test("a paused socket holds the sender back", async () => {
  const { socket, conn } = await halfNode({ allowHalfOpen: true });
  const bytes = patterned(3_000_000);
  let written = false;
  const writing = writeAll(conn, bytes).then(() => conn.closeWrite()).then(() => (written = true));
  const first = await new Promise<Uint8Array>((resolve) => {
    socket.once("data", (chunk: Uint8Array) => {
      socket.pause(); // at once: more may come before anybody who awaits is told
      resolve(chunk);
    });
  });
  for (let before = -1; before !== socket.bytesRead;) { // until nothing moves any more
    before = socket.bytesRead;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect([written, socket.bytesRead <= 1_000_000]).toEqual([false, true]);
  socket.removeAllListeners("data");
  expect(difference(concat([first, await collect(socket)]), bytes)).toBe(-1);
  await writing;
});

test("writes gathered while corked leave in order, small and large", async () => {
  const { socket, conn } = await halfNode();
  const parts = [patterned(10), patterned(20, 1), patterned(90_000, 2), patterned(5, 3)];
  for (const some of [parts.slice(0, 2), parts]) {
    socket.cork();
    for (const part of some) socket.write(part);
    socket.uncork();
  }
  socket.end();
  expect(difference(await readAll(conn), concat([...parts.slice(0, 2), ...parts]))).toBe(-1);
});

test("a reset is ECONNRESET, a closed host is a close without error", async () => {
  const { socket, server, client } = await halfNode();
  const resetting = once(socket, "error");
  server.close();
  const [error] = await resetting;
  expect(error.code).toBe("ECONNRESET");
  const second = await halfNode();
  const closing = once(second.socket, "close");
  second.client.close();
  await closing;
  client.close();
});

test("destroySoon sends what was written, resetAndDestroy does not wait", async () => {
  const { socket, conn } = await halfNode();
  const bytes = patterned(3_000_000); // more than TCP takes at once
  socket.write(bytes);
  socket.destroySoon();
  expect(difference(await readAll(conn), bytes)).toBe(-1);
  const second = await halfNode();
  const reading = second.conn.read(new Uint8Array(1)).catch((error: Error) => error.name);
  second.socket.resetAndDestroy();
  expect(await reading).toBe("ConnectionReset");
});

test("timeout is told once, after silence only, and 0 takes it back", async () => {
  const { socket, conn } = await halfNode();
  const never = (): void => expect.unreachable();
  socket.setTimeout(10_000, never);
  socket.setTimeout(0, never);
  let told = 0;
  socket.setTimeout(5, () => void told++);
  await once(socket, "timeout");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(told).toBe(1);
  expect(() => socket.setTimeout(-1)).toThrow(RangeError);
  const again = once(socket, "timeout"); // a byte arms it anew
  socket.write("x");
  await again;
  socket.destroy();
  conn.close();
});

// node:http

/**
 * The address that requests name. Where they go is `createConnection`'s affair; a client that dials the
 * kernel all the same (as Node does with `agent: false`) must be refused on loopback, not reach a stranger.
 */
const NOWHERE = { host: "127.0.0.1", port: 1 };

/** `call` resolves to the answer's body; `sockets` are the server's. */
function httpPair(pair: Pair): { call: typeof call; sockets: StackSocket[] } {
  const sockets: StackSocket[] = [];
  const server = createServer((incoming, response) => {
    if (incoming.url === "/chunks") {
      let left = 20;
      const next = (): void => {
        if (left-- === 0) return void response.end();
        response.write(`chunk ${left};`);
        setTimeout(next, 0);
      };
      return next();
    }
    incoming.pipe(response); // echo
  });
  server.on("connection", (socket) => void sockets.push(socket as unknown as StackSocket));
  const listener = pair.server.listen({ port: 80 });
  nodeServer(listener, server);
  onTestFinished(async () => {
    expect(server.listening).toBe(true);
    listener.close();
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(server.listening).toBe(false);
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const create = (): Duplex => connectNode(pair.client, { port: 80, host: SERVER });
  (agent as unknown as { createConnection: () => Duplex }).createConnection = create;
  onTestFinished(() => agent.destroy());
  return { call, sockets };

  function call(options: RequestOptions, body?: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const outgoing = request({ ...NOWHERE, agent, ...options }, (incoming: IncomingMessage) => {
        collect(incoming).then(resolve, reject);
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  }
}

test("node:http: keep-alive, chunked bodies, 1 MB bodies", async () => {
  const { call, sockets } = httpPair(realPair());
  const body = patterned(1_000_000);
  const first = await call({ path: "/", method: "POST" }, body);
  expect(difference(first, body)).toBe(-1);
  const second = await call({ path: "/chunks" });
  expect(new TextDecoder().decode(second)).toBe(
    Array.from({ length: 20 }, (_, index) => `chunk ${19 - index};`).join(""),
  );
  const sized = await call(
    { path: "/", method: "POST", headers: { "content-length": `${body.length}` } },
    body,
  );
  expect(difference(sized, body)).toBe(-1);
  expect(sockets).toHaveLength(1); // the connection was kept
});

test("node:http: a request with createConnection and no agent", async () => {
  const pair = realPair();
  const { call } = httpPair(pair);
  const answer = await call({
    agent: undefined, // not false: that makes a new agent, which dials the kernel
    path: "/",
    method: "POST",
    createConnection: () => connectNode(pair.client, { port: 80, host: SERVER }) as never,
  }, patterned(3));
  expect(answer).toEqual(patterned(3));
});

test("node:http: a kept-alive connection sleeps between requests and answers after waking", async () => {
  const [left, right] = pipe();
  const server = new SleepyHost({
    interfaces: [{ link: left }],
    addresses: [{ address: `${SERVER}/24` }],
    store: new MemoryStore(),
    idleMs: 20,
  });
  const client = new Host({ interfaces: [{ link: right }], addresses: [{ address: `${CLIENT}/24` }] });
  onTestFinished(() => {
    server.close();
    client.close();
  });
  const { call, sockets } = httpPair({ server, client });
  for (let round = 0; round < 3; round++) {
    const body = patterned(100_000, round);
    const answer = await call({ path: "/", method: "POST" }, body);
    expect(difference(answer, body)).toBe(-1);
    while (server.counts.asleep === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(server.stack.tcp.awake).toBe(0);
  }
  expect(sockets).toHaveLength(1);
  expect(server.sleeper.stats.restores).toBeGreaterThanOrEqual(2);
});

test("nodeServer: a callback that throws loses its connection only, and the next is served", async () => {
  for (const how of ["callback", "emitter"] as const) {
    const thrown = uncaught();
    const { server, client } = realPair();
    const listener = server.listen({ port: 80 });
    let taken = 0;
    const take = (socket: StackSocket): void => {
      if (++taken === 1) throw new Error("a bug");
      socket.end("served");
    };
    nodeServer(listener, how === "callback" ? take : new EventEmitter().on("connection", take));
    const unlucky = await client.connect({ hostname: SERVER, port: 80 });
    expect(await refusal(unlucky.read(new Uint8Array(1)))).toMatch(/^ConnectionReset: /);
    const lucky = await client.connect({ hostname: SERVER, port: 80 });
    expect(new TextDecoder().decode(await readAll(lucky))).toBe("served");
    expect([how, thrown.map(String)]).toEqual([how, ["Error: a bug"]]);
  }
});
