import { once } from "node:events";
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, request as startRequest } from "node:http";
import { Duplex, PassThrough } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import * as ws from "ws";
import { Prng } from "../../base/random.ts";
import { runtime } from "../../base/runtime.ts";
import { BodyReader } from "../../serve/http/body.ts";
import { headEnd, readHead, RequestError } from "../../serve/http/head.ts";
import { serveHttp } from "../../serve/http/http_server.ts";
import { newFrames, readFrames } from "../../serve/websocket/frames.ts";
import { agentOf, SERVER, sleepyPair } from "../dropin/world.ts";
import { difference } from "../net/socket/world.ts";
import { clientFrame } from "./websocket_client.ts";

const { WebSocket } = ws;
type Socket = ws.WebSocket;
/** The half of ws that reads frames; its types do not know it. */
const { Receiver } = ws as unknown as { Receiver: new (options: object) => Duplex };

test("the ws client: text, bytes, fragments, pings and a clean close, to handlers that sleep in between", async () => {
  const pair = sleepyPair();
  const closed: unknown[] = [];
  const service = serveHttp<{ count: number }>(pair.server, {
    port: 80,
    fetch(_request, client) {
      client.attachment = { count: 0 };
      return client.upgrade("chat");
    },
    webSocket: {
      message(client, message) {
        client.attachment.count++;
        client.send(typeof message === "string" ? `${client.attachment.count} ${message}` : message);
      },
      close: (_client, code, reason) => void closed.push([code, reason]),
    },
  });
  // It offers permessage-deflate, and is refused.
  const socket = new WebSocket(`ws://${SERVER}/`, ["chat"], { createConnection: () => pair.connect(80) });
  await once(socket, "open");
  expect([socket.protocol, socket.extensions]).toEqual(["chat", ""]);
  const ask = async (send: () => void): Promise<Uint8Array> => {
    const answer = once(socket, "message");
    send();
    return new Uint8Array((await answer)[0] as Uint8Array);
  };
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  expect(text(await ask(() => socket.send("one")))).toBe("1 one");
  await pair.sleep();
  const bytes = new Uint8Array(300_000).map((_, at) => at);
  expect(difference(await ask(() => socket.send(bytes)), bytes)).toBe(-1);
  await pair.sleep();
  expect(text(await ask(() => socket.send("short")))).toBe("3 short"); // and the long answer's drain is told
  await pair.sleep();
  const answers = service.answers;
  socket.ping("hello");
  expect(`${(await once(socket, "pong"))[0]}`).toBe("hello");
  expect(service.answers, "answered asleep").toBe(answers + 1);
  await pair.sleep();
  const fragmented = await ask(() => {
    socket.send("frag", { fin: false });
    socket.ping();
    socket.send("mented", { fin: true });
  });
  expect(text(fragmented)).toBe("4 fragmented");
  await pair.sleep();
  for (const id of service.connections()) service.send(id, "from afar");
  expect(`${(await once(socket, "message"))[0]}`).toBe("from afar");
  await pair.sleep();
  socket.close(4001, "done");
  const [code] = await once(socket, "close");
  expect([code, closed]).toEqual([4001, [[4001, "done"]]]);
});

test("the ws client hears a server's close, and a server that is asked for too much", async () => {
  const pair = sleepyPair();
  const service = serveHttp(pair.server, {
    port: 80,
    fetch: (_request, client) => client.upgrade(),
    webSocket: { message() {}, messageBytesMax: 1_000 },
  });
  const open = async (): Promise<Socket> => {
    const socket = new WebSocket(`ws://${SERVER}/`, { createConnection: () => pair.connect(80) });
    socket.on("error", () => {}); // a reset behind the close frame, where it was still sending
    await once(socket, "open");
    return socket;
  };
  const told = await open();
  await pair.sleep();
  for (const id of service.connections()) {
    service.with(id, (client) => client.close(3000, "good night"));
  }
  const [code, reason] = await once(told, "close");
  expect([code, `${reason}`]).toEqual([3000, "good night"]);
  const greedy = await open();
  greedy.send(new Uint8Array(1_001));
  expect((await once(greedy, "close"))[0]).toBe(1009);
});

test("node:http's client: kept connections that sleep, bodies both ways, HEAD and a stream", async () => {
  const pair = sleepyPair();
  serveHttp(pair.server, {
    port: 80,
    async fetch(request) {
      if (request.method === "PUT") return new Response(`${(await request.arrayBuffer()).byteLength}`);
      if (!request.url.endsWith("/stream")) return new Response("x".repeat(200_000));
      return new Response(
        new ReadableStream({
          async start(controller) {
            for (let part = 0; part < 3; part++) {
              controller.enqueue(new TextEncoder().encode(`part ${part};`));
              await new Promise((resolve) => setTimeout(resolve, 2));
            }
            controller.close();
          },
        }),
      );
    },
  });
  const agent = agentOf(pair, 80);
  const ask = async (path: string, method = "GET", body?: Uint8Array): Promise<string> => {
    const request = startRequest({ host: SERVER, path, agent, method });
    request.end(body);
    const [response] = await once(request, "response") as [IncomingMessage];
    let text = "";
    for await (const piece of response) text += piece;
    return `${response.statusCode} ${text}`;
  };
  for (let round = 0; round < 3; round++) {
    expect((await ask("/")).length).toBe(200_004);
    expect(await ask("/", "HEAD")).toBe("200 ");
    expect(await ask("/stream")).toBe("200 part 0;part 1;part 2;");
    expect(await ask("/", "PUT", new Uint8Array(400_000))).toBe("200 400000");
    await pair.sleep();
  }
  // Bun's client does not keep a connection on which it asked for a head alone.
  if (runtime !== "bun") expect(pair.client.counts.asleep, "One connection did it all").toBe(1);
});

// Bun puts a WebSocket of its own in the place of ws.
test.skipIf(runtime === "bun")("drawn frames mean the same to us and to ws' own receiver", async () => {
  const seed = 7;
  const prng = new Prng(seed);
  const pick = <T>(from: readonly T[]): T => from[prng.below(from.length)]!;
  for (let run = 0; run < 300; run++) {
    const stream: number[] = [];
    for (let frame = 0; frame < 1 + prng.below(5); frame++) {
      const payload = pick([
        new Uint8Array(prng.below(4)).map(() => 97 + prng.below(26)),
        new TextEncoder().encode(pick(["é", "ab", "", "\u{1f600}"])),
        new Uint8Array(120 + prng.below(20)).fill(98),
        Uint8Array.of(3, 0xe8 + prng.below(20), 104, 105),
        Uint8Array.of(0xc3, prng.below(256)),
      ]);
      const opcode = pick([0, 0, 1, 1, 1, 2, 2, 8, 9, 10, 3, 11]);
      const whole = prng.below(4) > 0;
      stream.push(...clientFrame(opcode, payload, {
        fin: whole,
        masked: prng.below(30) > 0,
        reserved: prng.below(30) === 0 ? 1 + prng.below(7) : 0,
      }));
    }
    const bytes = Uint8Array.from(stream);
    const ours = readFrames(newFrames(), bytes, 400).map((event) => {
      if (event.kind === "message") return `message ${event.text} ${event.data}`;
      return "data" in event ? `${event.kind} ${event.data}` : `${event.kind} ${event.code}`;
    });
    expect(ours, `seed ${seed}, run ${run}: ${stream}`).toEqual(await judged(bytes));
  }
});

/** What ws makes of a client's bytes. */
async function judged(bytes: Uint8Array): Promise<string[]> {
  const heard: string[] = [];
  const receiver = new Receiver({ isServer: true, maxPayload: 400, skipUTF8Validation: false });
  receiver.on(
    "message",
    (data: Uint8Array, binary: boolean) => heard.push(`message ${!binary} ${[...data]}`),
  );
  receiver.on("ping", (data: Uint8Array) => heard.push(`ping ${[...data]}`));
  receiver.on("pong", (data: Uint8Array) => heard.push(`pong ${[...data]}`));
  receiver.on("conclude", (code: number) => heard.push(`close ${code}`));
  await new Promise<void>((resolve) => {
    receiver.on("error", (error: Error) => {
      const code = Object.getOwnPropertySymbols(error).map((name) => (error as never)[name])[0];
      heard.push(`error ${code}`);
      resolve();
    });
    receiver.write(bytes, () => setImmediate(resolve));
  });
  return heard;
}

// Deno and Bun have parsers of their own behind node:http.
test.skipIf(runtime !== "node")(
  "drawn requests: what we take, Node's parser takes, and sees the same in it",
  async () => {
    const seed = 11;
    const prng = new Prng(seed);
    const pick = <T>(from: readonly T[]): T => from[prng.below(from.length)]!;
    let taken = 0;
    for (let run = 0; run < 1_200; run++) {
      const method = pick(["GET", "POST", "PUT", "OPTIONS", "G ET", ""]);
      const lines = [
        `${method} ${pick(["/", "/a?b=c", "*", "http://x/y", "/é", "/ /", ""])} ${
          pick(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", ""])
        }`,
        pick(["Host: a", "Host: a", "Host: a", "Host : a", "", "Host: a\r\nHost: b"]),
        ...Array.from({ length: prng.below(3) }, () =>
          pick([
            ...["X: y", "X:", "X: \x01", "X: é", " X: y", "X y", "Connection: close", "Content-Length: 3"],
            ...[
              "Content-Length: 3, 3",
              "Content-Length: +3",
              "Content-Length: 0x3",
              "Transfer-Encoding: chunked",
            ],
            ...[
              "Transfer-Encoding: gzip, chunked",
              "Transfer-Encoding: chunked\r\n ",
              "Transfer-Encoding : chunked",
            ],
            ...["X: a\r\n b", "Content-Length: 3\nX: y", "\0: x"],
          ])),
      ].filter((line) => line !== "");
      const body = pick([
        "abc",
        "3\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
      ]);
      const bytes = Uint8Array.from(Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`, "latin1"));
      const ours = seenByUs(bytes);
      if (ours === undefined) continue; // we may be stricter
      taken++;
      expect(
        await seenByNode(bytes.subarray(0, ours.length)),
        `seed ${seed}, run ${run}: ${JSON.stringify(lines)} ${body}`,
      ).toBe(
        ours.seen,
      );
    }
    expect(taken).toBeGreaterThan(40);
  },
);

/** What we make of a request, and how many bytes are its own. */
function seenByUs(bytes: Uint8Array): { seen: string; length: number } | undefined {
  try {
    const end = headEnd(bytes);
    if (end < 0) return undefined;
    const head = readHead(bytes.subarray(0, end));
    const reader = new BodyReader(head.body);
    let body = "";
    const used = reader.read(bytes.subarray(end), (piece) => body += Buffer.from(piece).toString("latin1"));
    if (!reader.done) return undefined;
    const fields = head.fields.map(([name, value]) => `${name}=${value}`);
    const seen = JSON.stringify([head.method, head.target, head.minor, fields, body]);
    return { seen, length: end + used };
  } catch (error) {
    if (error instanceof RequestError) return undefined;
    throw error;
  }
}

async function seenByNode(bytes: Uint8Array): Promise<string> {
  let seen = "nothing";
  const server = createServer({ requireHostHeader: false }, async (request, response) => {
    let body = "";
    try {
      for await (const piece of request) body += (piece as Buffer).toString("latin1");
    } catch {
      return;
    }
    const fields: string[] = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      fields.push(`${request.rawHeaders[at]}=${request.rawHeaders[at + 1]}`);
    }
    if (seen === "nothing") {
      seen = JSON.stringify([request.method, request.url, request.httpVersionMinor, fields, body]);
    }
    response.end();
  });
  const [input, output] = [new PassThrough(), new PassThrough()];
  const socket = Duplex.from({ readable: input, writable: output });
  socket.on("error", () => {});
  server.on("clientError", () => {});
  server.emit("connection", socket);
  input.write(bytes);
  output.resume();
  await new Promise((resolve) => setImmediate(() => setImmediate(() => setImmediate(resolve))));
  for (let turn = 0; seen === "nothing" && turn < 50; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  onTestFinished(() => void socket.destroy());
  return seen;
}
