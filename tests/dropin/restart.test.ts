import { once } from "node:events";
import { type Agent, createServer, get, type IncomingMessage } from "node:http";
import { createServer as createTcp } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { Aedes } from "aedes";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import type mqtt from "mqtt";
import { Server as SocketIo } from "socket.io";
import { io } from "socket.io-client";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { SleepyHost } from "../../checkpoint/host.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { pipe } from "../../net/link/pipe.ts";
import { ReconnectingLink } from "../../net/link/reconnecting.ts";
import { Host } from "../../net/socket/host.ts";
import { connectNode, type NodeServer, type StackSocket } from "../../net/socket/stack_socket.ts";
import { serveHttp } from "../../serve/http/http_server.ts";
import { serveNode } from "../../serve/node/serve_node.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { mqttClient } from "./mqtt_client.ts";
import { agentOf, SERVER, type SleepyPair } from "./world.ts";

type Program = NodeServer | ((socket: StackSocket) => void);

/** A server whose process ends and begins again with a program that knows nothing, and a client that stays. */
async function world(program: () => Program | Promise<Program>, port = 80) {
  const folder = new TemporaryFolder();
  const cable = new ReconnectingLink();
  const client = new Host({ interfaces: [{ link: cable }], addresses: [{ address: "10.0.0.2/24" }] });
  let host!: SleepyHost;
  const start = async (): Promise<void> => {
    const [link, far] = pipe();
    host = new SleepyHost({
      interfaces: [{ link, mac: "52:54:00:70:07:01" }],
      addresses: [{ address: `${SERVER}/24` }],
      store: await FileStore.open(folder.path),
      idleMs: 1e9,
    });
    serveNode(host, await program(), { port });
    cable.attach(far);
  };
  await start();
  onTestFinished(async () => {
    client.close();
    await host.shutdown();
    folder[Symbol.dispose]();
  });
  const connect = (to = port): StackSocket => connectNode(client, { host: SERVER, port: to });
  return {
    host: () => host,
    connect,
    agent: (sockets = 1, to = port): Agent => agentOf({ connect } as unknown as SleepyPair, to, sockets),
    /** As a deploy does it: what is under way is finished first. */
    async deploy() {
      await host.drain();
      await host.shutdown();
      await start();
    },
    /** What is left of it is in its images, as after `kill -9`: by default when nothing was under way. */
    async die(between = true) {
      const isBetween = (id: string): boolean => host.attachmentOf(id) !== 1;
      while (between && ![...host.connections()].every(isBetween)) await later(2);
      await host.shutdown();
      await start();
    },
  };
}

async function textOf(agent: Agent, path: string): Promise<string> {
  const [response] = await once(get({ host: SERVER, path, agent }), "response") as [IncomingMessage];
  let text = "";
  for await (const piece of response) text += piece;
  return `${response.statusCode} ${text}`;
}

/** What waits for somebody to ask for "/slow". */
let heardSlow = (): void => {};

const later = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

function slowly(): Promise<void> {
  heardSlow();
  return later(60);
}

const FRAMEWORKS: Record<string, () => Program | Promise<Program>> = {
  express() {
    const app = express();
    app.get("/", (_request, response) => void response.send("home"));
    app.get("/slow", async (_request, response) => {
      await slowly();
      response.json({ late: true });
    });
    return createServer(app);
  },
  hono() {
    const app = new Hono();
    app.get("/", (context) => context.text("home"));
    app.get("/slow", async (context) => {
      await slowly();
      return context.json({ late: true });
    });
    return createAdaptorServer(app) as NodeServer;
  },
  async fastify() {
    const app = fastify();
    app.get("/", () => "home");
    app.get("/slow", async () => {
      await slowly();
      return { late: true };
    });
    await app.ready();
    return app.server;
  },
};

for (const [name, program] of Object.entries(FRAMEWORKS)) {
  test(`${name}: kept connections go on in the next process; what is under way is answered by the old one first`, async () => {
    const here = await world(program);
    const agent = here.agent();
    const sockets = new Set<unknown>();
    agent.on("free", (socket) => void sockets.add(socket));
    expect(await textOf(agent, "/")).toBe("200 home");
    await here.die();
    expect(await textOf(agent, "/")).toBe("200 home");
    const heard = new Promise<void>((resolve) => heardSlow = resolve);
    const slow = textOf(agent, "/slow");
    await heard;
    const [answer] = await Promise.all([slow, here.deploy()]);
    expect(answer).toBe('200 {"late":true}');
    expect(await textOf(agent, "/")).toBe("200 home");
    expect(sockets.size, "one connection did it all").toBe(1);
  });
}

test("serveHttp: a deploy answers what is under way, and leaves what comes then to the next process", async () => {
  const here = await world(() => () => {}, 81);
  let process = 0;
  let begun = (): void => {};
  const begins = new Promise<void>((resolve) => begun = resolve);
  const serve = (): void => {
    const mine = ++process;
    serveHttp(here.host(), {
      port: 80,
      fetch: async () => {
        begun();
        await later(40);
        return new Response(`by ${mine}`);
      },
    });
  };
  serve();
  const agent = here.agent(2, 80);
  const first = textOf(agent, "/");
  await begins;
  const draining = here.host().drain();
  await later(5);
  const second = textOf(agent, "/"); // of another connection
  expect(await first).toBe("200 by 1");
  await draining;
  await here.die();
  serve();
  expect(await second).toBe("200 by 2");
});

test("ws: a socket stays open in the next process, where the program sees it open; nobody hears of it", async () => {
  let opened = 0;
  const here = await world(() => {
    const http = createServer();
    new WebSocketServer({ server: http }).on("connection", (socket, request) => {
      opened++;
      socket.on("message", (data) => socket.send(`${request.url} heard ${data}`));
    });
    return http;
  });
  const socket = new WebSocket(`ws://${SERVER}/chat?name=ann`, { createConnection: () => here.connect() });
  await once(socket, "open");
  const ask = async (text: string): Promise<string> => {
    const answer = once(socket, "message");
    socket.send(text);
    return `${(await answer)[0]}`;
  };
  expect(await ask("one")).toBe("/chat?name=ann heard one");
  await here.deploy();
  expect(await ask("two")).toBe("/chat?name=ann heard two");
  await here.die();
  socket.ping();
  await once(socket, "pong");
  expect(await ask("three")).toBe("/chat?name=ann heard three");
  expect(opened).toBe(3);
  socket.close(1000, "done");
  expect((await once(socket, "close"))[0]).toBe(1000);
});

test("socket.io: clients stay joined in the next process, in every namespace; answers that are due come first", async () => {
  const here = await world(() => {
    const http = createServer();
    const chat = new SocketIo(http, { pingInterval: 3_600_000 });
    chat.on("connection", (socket) => {
      socket.on("say", (text: string, told: (count: number) => void) => {
        chat.emit("said", text);
        setTimeout(() => told(text.length), 30);
      });
    });
    chat.of("/staff").use((socket, next) =>
      next(socket.handshake.auth["token"] === "x" ? undefined : new Error("no"))
    )
      .on("connection", (socket) => void socket.on("who", (told: (name: string) => void) => told("staff")));
    return http;
  });
  const options = { transports: ["websocket"], forceNew: true, agent: here.agent(Infinity) as never };
  const clients = ["ann", "bob"].map(() => io(`http://${SERVER}`, options));
  const staff = io(`http://${SERVER}/staff`, { ...options, auth: { token: "x" } });
  const all = [...clients, staff];
  onTestFinished(() => all.forEach((client) => void client.disconnect()));
  await Promise.all(
    all.map((client) => new Promise<void>((resolve) => client.on("connect", () => resolve()))),
  );
  const lost: string[] = [];
  for (const client of all) client.on("disconnect", (why) => void lost.push(why));
  for (const restart of ["deploy", "die", "deploy"] as const) {
    const heard = Promise.all(
      clients.map((client) => new Promise((resolve) => client.once("said", resolve))),
    );
    const told = clients[0]!.emitWithAck("say", restart);
    if (restart === "deploy") {
      await heard; // and its answer is due
      await here.deploy();
    }
    expect(await heard).toEqual([restart, restart]);
    expect(await told).toBe(restart.length);
    if (restart === "die") await here.die();
    expect(await staff.emitWithAck("who")).toBe("staff");
  }
  expect(lost).toEqual([]);
});

test("aedes: clients stay connected and subscribed in the next process; what is in flight is acknowledged first", async () => {
  const here = await world(async () => {
    const broker = await Aedes.createBroker();
    return createTcp((socket) => void broker.handle(socket)) as unknown as NodeServer;
  }, 1883);
  const [sensor, screen] = await Promise.all(
    ["sensor", "screen"].map((name) => mqttClient(() => here.connect(), name)),
  ) as [
    mqtt.MqttClient,
    mqtt.MqttClient,
  ];
  const closed: string[] = [];
  sensor.on("close", () => closed.push("sensor"));
  screen.on("close", () => closed.push("screen"));
  await screen.subscribeAsync(["temperature/+", "left", "gone"], { qos: 1 });
  await screen.unsubscribeAsync("gone");
  for (const restart of ["deploy", "die", "deploy"] as const) {
    for (const qos of [0, 1, 2] as const) {
      const heard = new Promise<[string, Uint8Array]>((resolve) =>
        screen.once("message", (topic, payload) => resolve([topic, payload]))
      );
      await sensor.publishAsync("gone", "never");
      await sensor.publishAsync("temperature/hall", `${restart} ${qos}`, { qos });
      const [topic, payload] = await heard;
      expect([topic, `${payload}`]).toEqual(["temperature/hall", `${restart} ${qos}`]);
    }
    await here[restart]();
  }
  expect(closed).toEqual([]);
  await Promise.all([sensor.endAsync(true), screen.endAsync(true)]);
});

test("who is in the middle of something, or says what is not followed, is reset by the next process", async () => {
  const here = await world(() => {
    const http = createServer((_request, response) => void response.write("begun"));
    new WebSocketServer({ server: http, perMessageDeflate: true });
    return http;
  });
  const lost = async (...said: string[]): Promise<void> => {
    const socket = here.connect();
    await once(socket, "connect");
    const over = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    for (const text of said) socket.write(text);
    socket.once("data", () => {});
    await later(30);
    await here.die(false);
    socket.write("?");
    await over;
  };
  await lost("GET / HTTP/1.1\r\nhost: x\r\n\r\n"); // half answered
  await lost("GET / HT"); // half asked
  await lost("\x16\x03\x01\x00\x00"); // TLS
  await lost(
    "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n" +
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n",
  );
});
