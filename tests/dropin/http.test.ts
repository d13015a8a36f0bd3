import { once } from "node:events";
import { type Agent, createServer, get, type IncomingMessage, type RequestListener } from "node:http";
import { connect as connectHttp2, createServer as createHttp2 } from "node:http2";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import { Agent as UndiciAgent, request } from "undici";
import { expect, onTestFinished, test } from "vitest";
import { nodeServer } from "../../net/socket/stack_socket.ts";
import { agentOf, ON_BUN, SERVER, sleepyPair } from "./world.ts";

async function textOf(agent: Agent, path: string): Promise<string> {
  const [response] = await once(get({ host: SERVER, path, agent }), "response") as [IncomingMessage];
  let text = "";
  for await (const piece of response) text += piece;
  return `${response.statusCode} ${text}`;
}

/** The same application of each framework: two routes, JSON, and a page that is not there. */
const FRAMEWORKS: Record<string, () => RequestListener | Promise<RequestListener>> = {
  express() {
    const app = express();
    app.get("/", (_request, response) => void response.send("home"));
    app.get("/json/:name", (request, response) => void response.json({ hello: request.params.name }));
    return app;
  },
  async fastify() {
    const app = fastify();
    app.get("/", () => "home");
    app.get<{ Params: { name: string } }>("/json/:name", (request) => ({ hello: request.params.name }));
    await app.ready();
    return (request, response) => void app.routing(request, response);
  },
  hono() {
    const app = new Hono();
    app.get("/", (context) => context.text("home"));
    app.get("/json/:name", (context) => context.json({ hello: context.req.param("name") }));
    return getRequestListener(app.fetch);
  },
};

for (const [name, application] of Object.entries(FRAMEWORKS)) {
  test(`${name}: an application over one kept connection that sleeps between its requests`, async () => {
    const pair = sleepyPair();
    nodeServer(pair.server.listen({ port: 80 }), createServer(await application()));
    const agent = agentOf(pair, 80);
    for (let round = 0; round < 3; round++) {
      expect(await textOf(agent, "/")).toBe("200 home");
      expect(await textOf(agent, `/json/round${round}`)).toBe(`200 {"hello":"round${round}"}`);
      expect(await textOf(agent, "/nowhere")).toMatch(/^404 /);
      await pair.sleep();
    }
    expect(pair.server.sleeper.stats.restores).toBeGreaterThanOrEqual(2);
    expect(pair.client.counts.asleep, "One connection did it all").toBe(1);
  });
}

test("http2 without TLS: streams side by side on one connection that has slept", async () => {
  const pair = sleepyPair();
  const server = createHttp2();
  server.on("stream", (stream, headers) => {
    stream.respond({ ":status": 200 });
    stream.end(`you asked for ${headers[":path"]}`);
  });
  nodeServer(pair.server.listen({ port: 80 }), server as never);
  const session = connectHttp2(`http://${SERVER}`, { createConnection: () => pair.connect(80) as Duplex });
  onTestFinished(() => session.destroy());
  const ask = async (path: string): Promise<string> => {
    const stream = session.request({ ":path": path });
    let text = "";
    for await (const piece of stream) text += piece;
    return text;
  };
  for (let round = 0; round < 2; round++) {
    const paths = [0, 1, 2, 3].map((index) => `/${round}/${index}`);
    expect(await Promise.all(paths.map(ask))).toEqual(paths.map((path) => `you asked for ${path}`));
    await pair.sleep();
  }
});

// Bun puts a client of its own in the place of undici.
test.skipIf(ON_BUN)("undici: an Agent whose connections are ours, kept through sleep", async () => {
  const pair = sleepyPair();
  nodeServer(
    pair.server.listen({ port: 80 }),
    createServer(async (incoming, response) => {
      let length = 0;
      for await (const piece of incoming) length += piece.length;
      response.end(`${incoming.method} of ${length}`);
    }),
  );
  const dispatcher = new UndiciAgent({
    connections: 1,
    connect: (_options, callback) => {
      const socket = pair.connect(80);
      socket.once("connect", () => callback(null, socket as never)).once(
        "error",
        (error) => callback(error, null),
      );
    },
  });
  onTestFinished(() => void dispatcher.destroy());
  for (const length of [10, 300_000]) {
    const body = new Uint8Array(length);
    const { statusCode, body: answer } = await request(`http://${SERVER}/`, {
      method: "PUT",
      body,
      dispatcher,
    });
    expect([statusCode, await answer.text()]).toEqual([200, `PUT of ${length}`]);
    await pair.sleep();
  }
  expect(pair.client.counts.asleep).toBe(1);
});
