import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { runtime } from "../../base/runtime.ts";
import type { HttpServer, ServeHandler, ServeOptions, TlsConn } from "../../serve/deno/types.ts";
import { refusal, writeAll } from "../net/socket/world.ts";
import { judge } from "../support/judge.ts";
import { makeCertificate } from "./certificate.ts";
import { type DenoNet, NETS } from "./deno_net.ts";

type Conn = Pick<TlsConn, "read" | "write" | "close">;

/** What a server writes, read as a client does that knows where a response ends. */
class Client {
  readonly #conn: Conn;
  #text = "";

  constructor(conn: Conn) {
    this.#conn = conn;
    onTestFinished(() => {
      try {
        conn.close();
      } catch {
        // closed by the test
      }
    });
  }

  async say(text: string): Promise<void> {
    await writeAll(this.#conn, new TextEncoder().encode(text));
  }

  /** The next response, without its date; or what there was until the end. */
  async hear(method = "GET"): Promise<string> {
    for (;;) {
      const end = responseEnd(this.#text, method);
      if (end > 0) {
        const text = this.#text.slice(0, end);
        this.#text = this.#text.slice(end);
        return shown(text);
      }
      if (!await this.#more()) return `${shown(this.#text)}<end>`;
    }
  }

  /** What comes until the end. */
  async rest(): Promise<string> {
    while (await this.#more());
    return shown(this.#text);
  }

  async #more(): Promise<boolean> {
    const buffer = new Uint8Array(65_536);
    const count = await this.#conn.read(buffer).catch(() => null);
    if (count === null) return false;
    this.#text += new TextDecoder("latin1").decode(buffer.subarray(0, count));
    return true;
  }
}

function shown(text: string): string {
  // Bun's responses do not say that their text is text.
  const undated = text.replace(/\r\ndate: [^\r]+/gi, "");
  return undated.replace(/\r\ncontent-type: text\/plain[^\r]+/i, "").replaceAll(
    "\r\n",
    "|",
  );
}

function responseEnd(text: string, method: string): number {
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return -1;
  const fields = text.slice(0, head).toLowerCase();
  const status = Number(fields.slice(9, 12));
  if (method === "HEAD" || status === 204 || status === 304 || status < 200) return head + 4;
  const length = /\r\ncontent-length: (\d+)/.exec(fields)?.[1];
  if (length !== undefined) return text.length >= head + 4 + Number(length) ? head + 4 + Number(length) : -1;
  if (!fields.includes("\r\ntransfer-encoding: chunked")) return -1;
  const last = text.indexOf("0\r\n\r\n", head);
  return last < 0 ? -1 : last + 5;
}

const request = (path: string, fields = "", method = "GET", version = "1.1"): string =>
  `${method} ${path} HTTP/${version}\r\nHost: a\r\n${fields}\r\n`;

const HANDLERS: Record<string, ServeHandler> = {
  "/": () => new Response("hi"),
  "/throw": () => {
    throw new TypeError("on purpose");
  },
  "/204": () => new Response(null, { status: 204 }),
  "/nothing": () => new Response(null),
  "/echo": (asked) => new Response(asked.body, { headers: { "content-type": "text/x" } }),
  "/length": async (asked) => new Response(`${(await asked.arrayBuffer()).byteLength}`),
  "/url": (asked, { remoteAddr }) =>
    new Response(`${asked.method} ${asked.url} ${remoteAddr.transport} ${[...asked.headers]}`),
  "/cookies": () => {
    const headers = new Headers({ "x-a": "b" });
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2");
    return new Response("c", { headers, status: 201 });
  },
  "/stream": () => {
    let part = 0;
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 2));
          if (part++ < 3) controller.enqueue(new TextEncoder().encode(`part${part}`));
          else controller.close();
        },
      }),
    );
  },
  "/broken": () => {
    let part = 0;
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 2));
          if (part++ < 2) controller.enqueue(new TextEncoder().encode(`part${part}`));
          else controller.error(new Error("on purpose"));
        },
      }),
    );
  },
  "/slow": async () => {
    await new Promise((resolve) => setTimeout(resolve, 30));
    return new Response("slow");
  },
  "/big": () => new Response(new Uint8Array(3_000_000)),
};

for (const { name, there, make } of NETS) {
  describe.skipIf(!there)(name, () => {
    let net: DenoNet;
    beforeEach(() => void (net = make()));

    function serve(options: ServeOptions = {}, handler?: ServeHandler): HttpServer {
      const own: ServeHandler = (asked, info) =>
        (HANDLERS[new URL(asked.url).pathname] ?? HANDLERS["/url"]!)(asked, info);
      const server = net.server.serve(
        { hostname: net.hostname, port: 0, onListen() {}, ...options },
        handler ?? own,
      );
      onTestFinished(() => server.shutdown().catch(() => {}));
      return server;
    }
    const connected = async ({ addr }: HttpServer): Promise<Client> =>
      new Client(await net.client.connect({ hostname: net.hostname, port: addr.port }));

    async function asked(text: string, method = "GET"): Promise<string> {
      const client = await connected(serve({ onError: () => new Response("sorry", { status: 500 }) }));
      await client.say(text);
      return await client.hear(method);
    }

    test("requests one after the other on one connection, and two at once in their order", async () => {
      const client = await connected(serve());
      const hi = "HTTP/1.1 200 OK|content-length: 2||hi";
      for (let round = 0; round < 3; round++) {
        await client.say(request("/"));
        expect(await client.hear()).toBe(hi);
      }
      await client.say(request("/slow") + request("/"));
      expect(await client.hear()).toMatch(/slow$/);
      expect(await client.hear()).toBe(hi);
      await client.say(request("/", "Connection: close\r\n"));
      const last = await client.rest();
      expect(last).toMatch(/\|connection: close\|/);
      expect(last).toMatch(/\|\|hi$/);
    });

    test("bodies of known and of unknown length, and none at all", async () => {
      expect(await asked(request("/204"))).toBe("HTTP/1.1 204 No Content||");
      expect(await asked(request("/nothing"))).toBe("HTTP/1.1 200 OK|content-length: 0||");
      const cookies = await asked(request("/cookies")); // in what order is the Headers' affair
      expect(cookies).toMatch(/^HTTP\/1.1 201 Created\|.*\|\|c$/);
      for (const field of ["x-a: b", "set-cookie: a=1", "set-cookie: b=2", "content-length: 1"]) {
        expect(cookies).toContain(`|${field}|`);
      }
      const streamed = await asked(request("/stream"));
      expect(streamed).toMatch(/^HTTP\/1.1 200 OK\|transfer-encoding: chunked\|\|/);
      expect(streamed.replace(/\|[0-9a-f]+\|/g, "")).toMatch(/part1.*part2.*part3/);
      expect(await asked(request("/stream", "", "HEAD"), "HEAD")).toBe("HTTP/1.1 200 OK||");
      expect(await asked(request("/", "", "HEAD"), "HEAD")).toBe(
        "HTTP/1.1 200 OK|content-length: 2||",
      );
      const client = await connected(serve());
      await client.say(request("/big", "Connection: close\r\n"));
      expect((await client.rest()).length).toBeGreaterThan(3_000_000);
    });

    test("HTTP/1.0: the connection ends, unless it is asked to stay", async () => {
      const one = await connected(serve());
      await one.say(request("/", "", "GET", "1.0"));
      expect(await one.rest()).toBe(
        "HTTP/1.0 200 OK|content-length: 2||hi",
      );
      expect(await asked(request("/", "Connection: keep-alive\r\n", "GET", "1.0"))).toBe(
        "HTTP/1.0 200 OK|content-length: 2|connection: keep-alive||hi",
      );
      const two = await connected(serve());
      await two.say(request("/stream", "", "GET", "1.0"));
      expect(await two.rest()).toBe("HTTP/1.0 200 OK||part1part2part3");
    });

    test("a request's body: a length, chunks, asked for with 100 Continue, or read by nobody", async () => {
      expect(await asked(`${request("/length", "Content-Length: 3\r\n", "POST")}abc`)).toMatch(/\|\|3$/);
      const chunks = "3\r\nabc\r\n2;a=b\r\nde\r\n0\r\nX: y\r\n\r\n";
      expect(await asked(request("/length", "Transfer-Encoding: chunked\r\n", "POST") + chunks)).toMatch(
        /\|\|5$/,
      );
      const client = await connected(serve());
      await client.say(request("/length", "Content-Length: 3\r\nExpect: 100-continue\r\n", "POST"));
      expect(await client.hear()).toBe("HTTP/1.1 100 Continue||");
      await client.say("abc");
      expect(await client.hear()).toMatch(/\|\|3$/);
      const another = await connected(serve());
      await another.say(`${request("/", "Content-Length: 3\r\n", "POST")}abc${request("/url?q=1")}`);
      expect(await another.hear()).toMatch(/\|\|hi$/);
      expect(await another.hear()).toMatch(/GET http:\/\/a\/url\?q=1 tcp host,a$/);
      const big = await connected(serve());
      await big.say(request("/length", "Content-Length: 2000000\r\n", "POST"));
      await big.say("x".repeat(2_000_000));
      expect(await big.hear()).toMatch(/\|\|2000000$/);
    });

    test("what is no request is refused, and the connection ends", async () => {
      for (
        const text of [
          "NONSENSE\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: a\r\nBad name: x\r\n\r\n",
          request("/", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "POST") + "0\r\n\r\n",
          request("/", "Content-Length: x\r\n", "POST"),
          request("/", "Content-Length: 3\r\nContent-Length: 4\r\n", "POST"),
        ]
      ) {
        const client = await connected(serve());
        await client.say(text);
        expect(await client.rest(), text).toMatch(/^HTTP\/1.1 400 Bad Request\|content-length: 0\|/);
      }
    });

    test("a handler that throws is answered for, and a body that breaks leaves no end", async () => {
      expect(await asked(request("/throw"))).toMatch(/^HTTP\/1.1 500 Internal Server Error\|.*\|\|sorry$/);
      const silence = console.error;
      console.error = () => {};
      onTestFinished(() => void (console.error = silence));
      const client = await connected(serve());
      await client.say(request("/broken"));
      expect(await client.rest()).not.toMatch(/\|0\|\|$/);
    });

    test("a target that is a whole URL, and OPTIONS *", async () => {
      expect(await asked("GET http://x.y:81/url?q HTTP/1.1\r\nHost: a\r\n\r\n")).toMatch(
        /\|\|GET http:\/\/x\.y:81\/url\?q tcp /,
      );
      expect(await asked("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")).toMatch(/\|\|OPTIONS http:\/\/a\/\* tcp /);
    });

    test("completed says when a response is out; shutdown waits for those under way and ends the others", async () => {
      const done: string[] = [];
      let begun = (): void => {};
      const underWay = new Promise<void>((resolve) => void (begun = resolve));
      const server = serve({}, async (asked, info) => {
        const { pathname } = new URL(asked.url);
        if (pathname === "/slow") begun();
        info.completed.then(() => done.push(pathname), (error) => done.push(`${pathname}: ${error.name}`));
        if (pathname === "/slow") await new Promise((resolve) => setTimeout(resolve, 40));
        return new Response(pathname);
      });
      const [busy, idle] = [await connected(server), await connected(server)];
      await idle.say(request("/first"));
      expect(await idle.hear()).toMatch(/\/first$/);
      await busy.say(request("/slow"));
      await underWay;
      const ending = server.shutdown();
      expect(await busy.rest()).toMatch(/\|\|\/slow$/);
      expect(await idle.rest()).toBe("");
      await ending;
      await server.finished;
      await server.shutdown();
      expect(done).toEqual(["/first", "/slow"]);
      expect(await refusal(net.client.connect({ hostname: net.hostname, port: server.addr.port }))).toMatch(
        /^ConnectionRefused: /,
      );
    });

    test("an aborted signal ends it at once, with what was under way", async () => {
      const control = new AbortController();
      let told: string | undefined;
      let begun = (): void => {};
      const underWay = new Promise<void>((resolve) => void (begun = resolve));
      const server = serve({ signal: control.signal }, async (asked) => {
        begun();
        asked.signal.addEventListener("abort", () => void (told = "aborted"));
        await new Promise((resolve) => setTimeout(resolve, 200));
        return new Response("too late");
      });
      const client = await connected(server);
      await client.say(request("/"));
      await underWay;
      control.abort();
      await server.finished;
      expect(await client.rest()).toBe("");
      expect(told === "aborted" || name === "Deno's").toBe(true);
    });

    test("onListen is told where; a port in use, a missing handler and a foreign transport are refused", async () => {
      let told: unknown;
      const server = serve({ onListen: (addr) => void (told = addr) });
      expect(told).toEqual(server.addr);
      expect(server.addr.port).toBeGreaterThan(0);
      server.ref();
      server.unref();
      const options = { hostname: net.hostname, port: server.addr.port, onListen() {} };
      expect(await refusal(() => net.server.serve(options, () => new Response()))).toMatch(/^AddrInUse: /);
      expect(await refusal(() => net.server.serve({ port: 0 } as never))).toMatch(/^TypeError: /);
      {
        await using held = serve();
        void held;
      }
    });

    judge(`${name}: over TLS`, ["openssl"], async () => {
      const { key, cert, ca } = makeCertificate(["127.0.0.1", "10.0.0.1"]);
      const server = serve({ key, cert } as ServeOptions);
      const conn = await net.client.connectTls({
        hostname: net.hostname,
        port: server.addr.port,
        caCerts: [ca],
        alpnProtocols: ["http/1.1"],
      });
      expect(await conn.handshake()).toEqual({ alpnProtocol: "http/1.1" });
      const client = new Client(conn);
      await client.say(request("/url"));
      expect(await client.hear()).toMatch(/GET https:\/\/a\/url tcp host,a$/);
      await client.say(request("/length", "Content-Length: 600000\r\n", "POST") + "x".repeat(600_000));
      expect(await client.hear()).toMatch(/\|\|600000$/);
      if (name === "ours") { // Deno's ends without close_notify, and its own client then throws all of it away
        await client.say(request("/big"));
        expect((await client.hear()).length).toBeGreaterThan(3_000_000);
        await client.say(request("/big", "Connection: close\r\n"));
        expect((await client.rest()).length).toBeGreaterThan(3_000_000);
      }
      await server.shutdown();
    });
  });
}

test.skipIf(runtime === "deno")("the parity of servers is judged by Deno itself, on Deno", () => {
  expect(NETS.filter(({ there }) => there).map(({ name }) => name)).toEqual(["ours"]);
});
