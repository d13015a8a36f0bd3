import { Buffer } from "node:buffer";
import { once } from "node:events";
import { createServer as createHttp, get, type IncomingMessage, type Server as HttpServer } from "node:http";
import { createServer as createHttps, get as getSecure } from "node:https";
import * as net from "node:net";
import { createServer as createTls } from "node:tls";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { runtime } from "../../base/runtime.ts";
import { connectNode, nodeServer, StackSocket } from "../../net/socket/stack_socket.ts";
import { httpAgent, httpsAgent } from "../../serve/node/agent.ts";
import { fetchOver } from "../../serve/node/fetch.ts";
import { createStackServer, StackServer } from "../../serve/node/server.ts";
import { sleepyPair } from "../dropin/world.ts";
import { realPair, SERVER } from "../net/socket/world.ts";
import { judge } from "../support/judge.ts";
import { makeCertificate } from "./certificate.ts";

/** Names of `net.Socket` that a `StackSocket` has not, and why. */
const ABSENT: Record<string, string> = {
  setTypeOfService: "a stack of ours has no setting for it per connection",
  getTypeOfService: "the same",
  // Bun's and Deno's own, which their libraries do not ask of a stream that is not theirs.
  setNoDelayAndKeepAlive: "Bun's",
  data: "Bun's",
  isServer: "Bun's",
  getsockname: "Bun's",
  connecting: "an instance's field, here and there",
};

function publicNames(prototype: object): string[] {
  return Object.getOwnPropertyNames(prototype).filter((name) =>
    !name.startsWith("_") && name !== "constructor"
  );
}

test("a StackSocket has every public name of net.Socket's prototype, or this test says why not", () => {
  const { server } = realPair();
  const ours = new StackSocket(server);
  const missing = publicNames(net.Socket.prototype).filter((name) => !(name in ours) && !(name in ABSENT));
  expect(missing).toEqual([]);
  const kernels = new net.Socket();
  for (const name of publicNames(net.Socket.prototype)) {
    if (name in ABSENT || !(name in ours)) continue;
    const [here, there] = [ours, kernels].map((socket) => typeof (socket as never)[name]);
    // Before it is connected; both may have nothing to say yet.
    if (here !== "undefined" && there !== "undefined") expect(here, name).toBe(there);
  }
  expect([ours.pending, ours.connecting, ours.readyState]).toEqual([
    kernels.pending,
    kernels.connecting,
    kernels.readyState,
  ]);
  expect(ours.address()).toEqual({});
  ours.destroy();
});

test("a StackServer has every public name of net.Server's prototype", () => {
  const { server } = realPair();
  const ours = new StackServer(server);
  expect(publicNames(net.Server.prototype).filter((name) => !(name in ours) && !(name in ABSENT))).toEqual(
    [],
  );
  expect(Symbol.asyncDispose in ours).toBe(true);
});

/** A server and its clients: the kernel's, or ours. */
interface Net {
  readonly host: string;
  createServer(options: object, onConnection?: (socket: net.Socket) => void): net.Server;
  connect(port: number, from?: { localAddress?: string; localPort?: number }): net.Socket;
}

const NETS: Record<string, () => Net> = {
  ours() {
    const { server, client } = realPair();
    return {
      host: SERVER,
      createServer: (options, listener) => createStackServer(server, options, listener as never) as never,
      connect: (port, from) => connectNode(client, { host: SERVER, port, ...from }) as never,
    };
  },
  "node:net's": () => ({
    host: "127.0.0.1",
    createServer: (options, listener) => net.createServer(options, listener),
    connect: (port, from) => net.connect({ host: "127.0.0.1", port, ...from }),
  }),
};

for (const [name, make] of Object.entries(NETS)) {
  describe(name, () => {
    let world: Net;
    beforeEach(() => void (world = make()));

    async function listening(
      options: object = {},
      listener?: (socket: net.Socket) => void,
    ): Promise<net.Server> {
      const server = world.createServer(options, listener);
      server.listen(0, world.host);
      await once(server, "listening");
      onTestFinished(() => void (server.listening && server.close()));
      return server;
    }
    const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port;

    test("listening, its address, connections counted, and close when the last has ended", async () => {
      const server = await listening({}, (socket) => void socket.resume());
      expect([server.listening, (server.address() as net.AddressInfo).address]).toEqual([true, world.host]);
      const accepted = once(server, "connection");
      const client = world.connect(portOf(server));
      await once(client, "connect");
      const [socket] = await accepted as [net.Socket];
      expect([socket.remotePort, socket.localPort]).toEqual([client.localPort, portOf(server)]);
      const count = (): Promise<number> =>
        new Promise((resolve) => void server.getConnections((_error, count) => resolve(count)));
      expect(await count()).toBe(1);
      let closed = false;
      const closing = once(server, "close").then(() => void (closed = true));
      server.close();
      expect([server.listening, server.address()]).toEqual([false, null]);
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(closed).toBe(false);
      client.end();
      await closing;
      expect(await count()).toBe(0);
    });

    test("errors have Node's codes: a port in use, listening twice, closing what does not run", async () => {
      const server = await listening();
      const second = world.createServer({});
      second.listen(portOf(server), world.host);
      const [error] = await once(second, "error") as [NodeJS.ErrnoException];
      expect([error.code, error.syscall]).toEqual(["EADDRINUSE", "listen"]);
      expect(() => server.listen(0)).toThrow(expect.objectContaining({ code: "ERR_SERVER_ALREADY_LISTEN" }));
      const refused = await new Promise<NodeJS.ErrnoException>((resolve) =>
        void second.close(resolve as never)
      );
      expect(refused.code).toBe("ERR_SERVER_NOT_RUNNING");
      expect(() => world.createServer({}).listen(65_536)).toThrow(RangeError);
    });

    test("close says whether it failed; a refused connection has Node's code", async () => {
      const server = await listening({}, (socket) => void socket.on("error", () => {}).resume());
      const client = world.connect(portOf(server));
      await once(client, "connect");
      client.resume().end();
      expect((await once(client, "close"))[0]).toBe(false);
      const port = portOf(server);
      server.close();
      await once(server, "close");
      const nobody = world.connect(port);
      const failed = once(nobody, "error").catch((error) => [error]);
      const ended = new Promise<boolean>((resolve) => void nobody.once("close", resolve));
      const [error] = await failed as [NodeJS.ErrnoException];
      expect([error.code, error.syscall]).toEqual(["ECONNREFUSED", "connect"]);
      expect(await ended).toBe(true);
    });

    test("a client's own port, which nobody else has, and an address that is not its own", async () => {
      if (name !== "ours" && runtime === "deno") return; // which has other codes for it
      const server = await listening({}, (socket) => void socket.on("error", () => {}).resume());
      const first = world.connect(portOf(server));
      await once(first, "connect");
      const { localAddress, localPort } = first as { localAddress: string; localPort: number };
      first.resetAndDestroy();
      await new Promise((resolve) => void first.once("close", resolve));
      const again = world.connect(portOf(server), { localAddress, localPort });
      await once(again, "connect");
      expect([again.localAddress, again.localPort]).toEqual([localAddress, localPort]);
      for (
        const [from, code] of [
          [{ localAddress, localPort }, /^EADDR(INUSE|NOTAVAIL)$/], // the kernel's word depends on when it looks
          [{ localAddress: "203.0.113.9" }, /^EADDRNOTAVAIL$/],
        ] as const
      ) {
        const refused = world.connect(portOf(server), from);
        const [error] = await new Promise<[NodeJS.ErrnoException]>((resolve) =>
          void refused.once("error", (error) => resolve([error]))
        );
        expect(error.code).toMatch(code);
      }
      again.destroy();
    });

    test("more than maxConnections are dropped, and told", async () => {
      if (name !== "ours" && runtime !== "node") return; // a matter of those runtimes
      const server = await listening({}, (socket) => void socket.on("error", () => {}).resume());
      server.maxConnections = 1;
      const first = world.connect(portOf(server));
      await once(first, "connect");
      const dropped = once(server, "drop");
      const second = world.connect(portOf(server)).resume();
      second.on("error", () => {});
      const [about] = await dropped as [net.DropArgument];
      expect(about).toMatchObject({ localPort: portOf(server), remoteAddress: expect.any(String) });
      await new Promise((resolve) => void second.once("close", resolve));
      first.destroy();
    });

    test("a signal closes a server, and so does `await using`", async () => {
      const control = new AbortController();
      const server = world.createServer({});
      server.listen({ port: 0, host: world.host, signal: control.signal });
      await once(server, "listening");
      const closing = once(server, "close");
      control.abort();
      await closing;
      const disposed = await listening();
      const told = once(disposed, "close");
      await disposed[Symbol.asyncDispose]();
      await told;
      expect(disposed.listening).toBe(false);
    });
  });
}

test("lookup is told of a name; options of connect are taken", async () => {
  const { server, client } = realPair({}, { dns: { hosts: { "chat.test": SERVER } } });
  const accepting = createStackServer(server, (socket) => void socket.resume()).listen(80);
  const socket = connectNode(client, {
    host: "chat.test",
    port: 80,
    noDelay: true,
    keepAlive: true,
    timeout: 50,
  });
  const silent = once(socket, "timeout"); // may come first on a slow machine
  const [error, address, family, name] = await once(socket, "lookup");
  expect([error, address, family, name]).toEqual([null, SERVER, 4, "chat.test"]);
  expect(socket.autoSelectFamilyAttemptedAddresses).toEqual([`${SERVER}:80`]);
  await silent;
  socket.destroy();
  accepting.close();
});

test("httpAgent: requests over kept connections that sleep", async () => {
  const pair = sleepyPair();
  nodeServer(
    pair.server.listen({ port: 80 }),
    createHttp((request, response) => void response.end(request.url)),
  );
  const agent = httpAgent(pair.client, { keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  for (const path of ["/one", "/two"]) {
    const [response] = await once(get({ host: SERVER, path, agent }), "response") as [IncomingMessage];
    let text = "";
    for await (const piece of response) text += piece;
    expect(text).toBe(path);
    await pair.sleep();
  }
  expect(pair.client.counts.asleep).toBe(1);
});

/** A server over TLS on any runtime: Bun's HTTPS server takes no sockets of others. */
function secureServer(pair: ReturnType<typeof sleepyPair>, certificate: { key: string; cert: string }): void {
  const answer = createHttp((request, response) => void response.end(`secret ${request.url}`));
  const server = runtime === "bun"
    ? createTls(certificate, (socket) => void answer.emit("connection", socket))
    : createHttps(certificate, (request, response) => void response.end(`secret ${request.url}`));
  nodeServer(pair.server.listen({ port: 443 }), server as never);
}

judge(
  "httpsAgent and fetch over TLS: the certificate is verified, and the connections sleep",
  ["openssl"],
  async () => {
    const { key, cert, ca } = makeCertificate([SERVER]);
    const pair = sleepyPair();
    secureServer(pair, { key, cert });
    const agent = httpsAgent(pair.client, { keepAlive: true, ca });
    onTestFinished(() => agent.destroy());
    const [response] = await once(getSecure({ host: SERVER, path: "/a", agent }), "response") as [
      IncomingMessage,
    ];
    let text = "";
    for await (const piece of response) text += piece;
    expect(text).toBe("secret /a");
    await pair.sleep();
    using fetch = fetchOver(pair.client, { ca });
    for (const path of ["/b", "/c"]) {
      expect(await (await fetch(`https://${SERVER}${path}`)).text()).toBe(`secret ${path}`);
      await pair.sleep();
    }
    using doubtful = fetchOver(pair.client);
    await expect(doubtful(`https://${SERVER}/`)).rejects.toThrow("fetch failed");
  },
);

/** Bun's own does not say that its text is text, and writes names of codings in small letters. */
function shown(answer: string): string {
  const small = answer.replace(/UTF-8/i, "utf-8").replace("text/plain;charset=utf-8", "text");
  return runtime === "bun" ? small.replace(/^(POST|PUT) - (yes|-) 3$/, "$1 text $2 3") : small;
}

/** What a server of either network answers. */
function answers(): HttpServer {
  return createHttp(async (request, response) => {
    const { pathname } = new URL(request.url!, "http://x");
    const pieces: Uint8Array[] = [];
    for await (const piece of request) pieces.push(piece as Uint8Array);
    const body = Buffer.concat(pieces);
    const redirect = /^\/redirect\/(\d+)$/.exec(pathname)?.[1];
    const text = "compressed ".repeat(1_000);
    const coded: Record<string, [string, Uint8Array]> = {
      "/gzip": ["gzip", gzipSync(text)],
      "/deflate": ["deflate", deflateSync(text)],
      "/br": ["br", brotliCompressSync(text)],
    };
    if (redirect !== undefined) {
      response.writeHead(Number(redirect), { location: "/echo" }).end("gone");
    } else if (pathname === "/loop") {
      response.writeHead(302, { location: "/loop" }).end();
    } else if (pathname in coded) {
      response.writeHead(200, { "content-encoding": coded[pathname]![0] }).end(coded[pathname]![1]);
    } else if (pathname === "/cut") {
      response.writeHead(200, { "content-length": "100" }).write("half");
      setTimeout(() => response.destroy(), 10);
    } else if (pathname === "/never") {
      // nothing is said
    } else if (pathname === "/none") {
      response.writeHead(204, { "x-a": "b" }).end();
    } else {
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      response.end(
        `${request.method} ${request.headers["content-type"] ?? "-"} ${
          request.headers["x-mine"] ?? "-"
        } ${body.length}`,
      );
    }
  });
}

const FETCHES: Record<
  string,
  () => Promise<{ fetch: typeof globalThis.fetch; base: string; nobody: string }>
> = {
  // deno-lint-ignore require-await
  async ours() {
    const { server, client } = realPair();
    nodeServer(server.listen({ port: 80 }), answers());
    const fetch = fetchOver(client);
    onTestFinished(() => fetch.close());
    return { fetch: fetch as never, base: `http://${SERVER}`, nobody: `http://${SERVER}:81/` };
  },
  async "the runtime's"() {
    const server = answers().listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    const { port } = server.address() as net.AddressInfo;
    return { fetch: globalThis.fetch, base: `http://127.0.0.1:${port}`, nobody: "http://127.0.0.1:1/" };
  },
};

for (const [name, make] of Object.entries(FETCHES)) {
  describe(`fetch, ${name}`, () => {
    test("methods, bodies, headers, status, url", async () => {
      const { fetch, base } = await make();
      const text = async (init?: RequestInit): Promise<string> =>
        shown(await (await fetch(`${base}/echo`, init)).text());
      expect(await text()).toBe("GET - - 0");
      expect(await text({ method: "POST", body: "abc", headers: { "x-mine": "yes" } })).toBe(
        "POST text yes 3",
      );
      expect(await text({ method: "PUT", body: new Uint8Array(500_000) })).toBe("PUT - - 500000");
      expect(await text({ method: "POST", body: new URLSearchParams({ a: "b" }) })).toBe(
        "POST application/x-www-form-urlencoded;charset=utf-8 - 3",
      );
      const body = new ReadableStream({
        start(controller) {
          for (let piece = 0; piece < 3; piece++) controller.enqueue(new Uint8Array(50_000));
          controller.close();
        },
      });
      expect(await text({ method: "POST", body, duplex: "half" } as RequestInit)).toBe("POST - - 150000");
      const response = await fetch(new Request(`${base}/none`, { method: "DELETE" }));
      expect([response.status, response.ok, response.headers.get("x-a"), response.body, response.url])
        .toEqual([
          204,
          true,
          "b",
          null,
          `${base}/none`,
        ]);
      expect(await (await fetch(`${base}/echo`, { method: "HEAD" })).text()).toBe("");
      expect((await fetch(`${base}/echo`)).headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    });

    test("compressed bodies", async () => {
      const { fetch, base } = await make();
      const denos = name !== "ours" && runtime === "deno"; // which leaves deflate as it is
      for (const coding of denos ? ["gzip", "br"] : ["gzip", "deflate", "br"]) {
        expect(await (await fetch(`${base}/${coding}`)).text(), coding).toBe("compressed ".repeat(1_000));
      }
    });

    test("redirects: followed with the right method and body, not followed, refused", async () => {
      const { fetch, base } = await make();
      const after = async (status: number, method: string, body?: string): Promise<string> => {
        const init = { method, ...(body === undefined ? {} : { body }) };
        const response = await fetch(`${base}/redirect/${status}`, init);
        expect([response.redirected, response.url]).toEqual([true, `${base}/echo`]);
        return shown(await response.text());
      };
      expect(await after(302, "POST", "abc")).toMatch(/^GET (-|text) - 0$/);
      expect(await after(303, "PUT", "abc")).toMatch(/^GET (-|text) - 0$/);
      expect(await after(307, "POST", "abc")).toBe("POST text - 3");
      expect(await after(308, "PUT", "abc")).toBe("PUT text - 3");
      const manual = await fetch(`${base}/redirect/301`, { redirect: "manual" });
      expect([manual.status, manual.headers.get("location")]).toEqual([301, "/echo"]);
      await manual.body?.cancel();
      await expect(fetch(`${base}/redirect/301`, { redirect: "error" })).rejects.toThrow();
      await expect(fetch(`${base}/loop`)).rejects.toThrow();
    });

    test("signals, refused connections and bodies that are cut", async () => {
      const { fetch, base, nobody } = await make();
      const control = new AbortController();
      const never = fetch(`${base}/never`, { signal: control.signal });
      setTimeout(() => control.abort(), 20);
      await expect(never).rejects.toMatchObject({ name: "AbortError" });
      await expect(fetch(`${base}/echo`, { signal: AbortSignal.abort() })).rejects.toMatchObject({
        name: "AbortError",
      });
      await expect(fetch(nobody)).rejects.toThrow();
      const cut = await fetch(`${base}/cut`);
      await expect(cut.text()).rejects.toThrow();
    });
  });
}

test("our fetch says why in its cause", async () => {
  const { client } = realPair();
  using fetch = fetchOver(client);
  const error = await fetch(`http://${SERVER}:81/`).catch((error) => error);
  expect([error.name, error.message, error.cause.code]).toEqual([
    "TypeError",
    "fetch failed",
    "ECONNREFUSED",
  ]);
  await expect(fetch("ftp://x/")).rejects.toThrow("fetch failed");
});
