import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, createServer, get } from "node:https";
import { connect as connectHttp2, createSecureServer } from "node:http2";
import type { IncomingMessage } from "node:http";
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { expect, onTestFinished } from "vitest";
import { nodeServer } from "../../net/socket/stack_socket.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { ON_BUN, SERVER, sleepyPair } from "./world.ts";

/** A key and a certificate of a day, as an administrator makes them. */
function certificate(): { key: string; cert: string } {
  using folder = new TemporaryFolder();
  const [key, cert] = [folder.file("key.pem"), folder.file("cert.pem")];
  execFileSync("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=torpor.test"],
    ...["-keyout", key, "-out", cert],
  ], { stdio: "ignore" });
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
}

const PEER = { servername: "torpor.test", rejectUnauthorized: false };

judge(
  "node:tls: both ends over our sockets, through sleep, to a close that both hear of",
  ["openssl"],
  async () => {
    const { server, connect, sleep } = sleepyPair();
    const secure = createTlsServer(certificate(), (socket) => {
      socket.on("data", (bytes) => socket.write(bytes));
      socket.on("end", () => socket.end());
    });
    nodeServer(server.listen({ port: 443 }), secure as never);
    const socket = connectTls({ socket: connect(443) as never, ...PEER });
    onTestFinished(() => void socket.destroy());
    await once(socket, "secureConnect");
    expect(socket.getProtocol()).toBe("TLSv1.3");
    for (const text of ["one", "two".repeat(20_000)]) {
      const heard = new Promise<string>((resolve) => {
        let soFar = "";
        const listen = (bytes: Uint8Array): void => {
          soFar += bytes;
          if (soFar.length < text.length) return;
          socket.off("data", listen);
          resolve(soFar);
        };
        socket.on("data", listen);
      });
      socket.write(text);
      expect(await heard).toBe(text);
      await sleep();
    }
    socket.end();
    await once(socket, "close");
  },
);

judge("node:https and HTTP/2 over TLS: kept connections that sleep", ["openssl"], async () => {
  const pair = sleepyPair();
  const keys = certificate();
  const https = createServer(keys, (request, response) => void response.end(`you asked for ${request.url}`));
  // Bun's https server takes no connection by its event; its TLS server and node:http do.
  if (ON_BUN) {
    nodeServer(
      pair.server.listen({ port: 443 }),
      createTlsServer(keys, (socket) => void https.emit("connection", socket)) as never,
    );
  } else nodeServer(pair.server.listen({ port: 443 }), https as never);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  agent.createConnection = (() => connectTls({ socket: pair.connect(443) as never, ...PEER })) as never;
  onTestFinished(() => agent.destroy());
  for (const path of ["/one", "/two"]) {
    const [response] = await once(get({ host: SERVER, path, agent }), "response") as [IncomingMessage];
    let text = "";
    for await (const piece of response) text += piece;
    expect(text).toBe(`you asked for ${path}`);
    await pair.sleep();
  }
  expect(pair.client.counts.asleep).toBe(1);

  const http2 = createSecureServer(keys);
  http2.on("stream", (stream, headers) => {
    stream.respond({ ":status": 200 });
    stream.end(`HTTP/2 ${headers[":path"]}`);
  });
  nodeServer(pair.server.listen({ port: 8443 }), http2 as never);
  const lower = connectTls({ socket: pair.connect(8443) as never, ALPNProtocols: ["h2"], ...PEER });
  await once(lower, "secureConnect");
  const session = connectHttp2(`https://${SERVER}`, { createConnection: () => lower as TLSSocket });
  onTestFinished(() => session.destroy());
  for (const path of ["/three", "/four"]) {
    const stream = session.request({ ":path": path });
    let text = "";
    for await (const piece of stream) text += piece;
    expect(text).toBe(`HTTP/2 ${path}`);
    await pair.sleep(2);
  }
});
