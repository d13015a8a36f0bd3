/**
 * node:http serves over our connections. One of them falls asleep between two requests of its client,
 * who does not notice.
 *
 * The HTTP server is Node's own, or Deno's and Bun's version of it; only the sockets are ours.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";
import { Host, MemoryStore, nodeServer, pipe, Prng, SleepyHost, type TcpConn } from "../mod.ts";

const IDLE_MS = 100;
const [serverLink, clientLink] = pipe();
const server = new SleepyHost({
  interfaces: [{ link: serverLink }],
  addresses: [{ address: "10.0.0.1/24" }],
  store: new MemoryStore(),
  idleMs: IDLE_MS,
});
const client = new Host({ interfaces: [{ link: clientLink }], addresses: [{ address: "10.0.0.2/24" }] });

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain", "content-length": text.length });
  response.end(text);
}

const web = createServer(async (request, response) => {
  if (request.url === "/hello") return answer(response, 200, `Hello, ${request.socket.remoteAddress}!\n`);
  if (request.url === "/hash") {
    const hash = createHash("sha256");
    for await (const chunk of request) hash.update(chunk as Uint8Array);
    return answer(response, 200, hash.digest("hex"));
  }
  answer(response, 404, "Nothing here\n");
});
nodeServer(server.listen({ port: 80 }), web);

/** The smallest client that keeps its connection: what it understands is what the server above says. */
class Browser {
  readonly #conn: TcpConn;
  readonly #buffer = new Uint8Array(16_384);
  #text = "";

  constructor(conn: TcpConn) {
    this.#conn = conn;
  }

  static async open(): Promise<Browser> {
    return new Browser(await client.connect({ hostname: "10.0.0.1", port: 80 }));
  }

  async ask(
    method: string,
    path: string,
    body = new Uint8Array(0),
  ): Promise<{ status: number; text: string }> {
    const head = `${method} ${path} HTTP/1.1\r\nhost: 10.0.0.1\r\ncontent-length: ${body.length}\r\n\r\n`;
    await this.#say(new TextEncoder().encode(head));
    await this.#say(body);
    while (!this.#text.includes("\r\n\r\n")) await this.#hear();
    const bodyAt = this.#text.indexOf("\r\n\r\n") + 4;
    const length = Number(/content-length: (\d+)/i.exec(this.#text)![1]);
    while (this.#text.length < bodyAt + length) await this.#hear();
    const status = Number(this.#text.split(" ", 2)[1]);
    const text = this.#text.slice(bodyAt, bodyAt + length);
    this.#text = this.#text.slice(bodyAt + length);
    return { status, text };
  }

  close(): void {
    this.#conn.close();
  }

  async #say(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  async #hear(): Promise<void> {
    const count = await this.#conn.read(this.#buffer);
    if (count === null) throw new Error("The server has closed the connection");
    this.#text += new TextDecoder().decode(this.#buffer.subarray(0, count));
  }
}

const browser = await Browser.open();
const hello = { status: 200, text: "Hello, 10.0.0.2!\n" };
assert.deepEqual(await browser.ask("GET", "/hello"), hello);
console.log("GET /hello is answered");

const upload = new Uint8Array(3_000_000);
new Prng(1).fill(upload);
const hash = createHash("sha256").update(upload).digest("hex");
assert.deepEqual(await browser.ask("POST", "/hash", upload), { status: 200, text: hash });
console.log(`POST /hash took ${upload.length} bytes, and their SHA-256 is right`);
assert.equal((await browser.ask("GET", "/nothing")).status, 404);

for (let ms = 0; server.counts.asleep === 0; ms += 10) {
  assert.ok(ms < 5_000, "The connection does not fall asleep");
  await new Promise((resolve) => setTimeout(resolve, 10));
}
console.log(`After ${IDLE_MS} ms of silence the connection is asleep`);
assert.equal(server.counts.awake, 0);
assert.deepEqual(await browser.ask("GET", "/hello"), hello);
assert.ok(server.sleeper.stats.restores >= 1);
console.log("GET /hello on the same connection wakes it and is answered");

const browsers = await Promise.all(Array.from({ length: 20 }, () => Browser.open()));
const answers = await Promise.all(browsers.map(async (each) => {
  const mine = [];
  for (let round = 0; round < 10; round++) mine.push(await each.ask("GET", "/hello"));
  return mine;
}));
for (const each of answers.flat()) assert.deepEqual(each, hello);
console.log(`${answers.flat().length} requests on ${browsers.length} connections at a time are answered`);

for (const each of [browser, ...browsers]) each.close();
client.close();
await server.shutdown();
