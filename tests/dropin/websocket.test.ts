import { once } from "node:events";
import { createServer } from "node:http";
import { io } from "socket.io-client";
import { Server as SocketIo } from "socket.io";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { nodeServer } from "../../net/socket/stack_socket.ts";
import { agentOf, SERVER, sleepyPair } from "./world.ts";

test("ws: server and client, text and bytes, through sleep, to a clean close", async () => {
  const { server, connect, sleep } = sleepyPair();
  const http = createServer();
  const sockets = new WebSocketServer({ server: http });
  sockets.on("connection", (socket) => {
    socket.on("message", (data, binary) => socket.send(binary ? data : `heard ${data}`, { binary }));
  });
  nodeServer(server.listen({ port: 80 }), http);
  const socket = new WebSocket(`ws://${SERVER}/`, { createConnection: () => connect(80) });
  await once(socket, "open");
  const ask = async (data: string | Uint8Array): Promise<unknown> => {
    const answer = once(socket, "message");
    socket.send(data);
    return (await answer)[0];
  };
  expect(`${await ask("one")}`).toBe("heard one");
  await sleep();
  const bytes = new Uint8Array(100_000).fill(7);
  expect(new Uint8Array(await ask(bytes) as Uint8Array)).toEqual(bytes);
  await sleep();
  socket.ping();
  await once(socket, "pong");
  socket.close(1000, "done");
  const [code, reason] = await once(socket, "close");
  expect([code, `${reason}`]).toEqual([1000, "done"]);
});

test("socket.io: rooms, acknowledgements and a client that sleeps in between", async () => {
  const pair = sleepyPair();
  const http = createServer();
  const chat = new SocketIo(http, { pingInterval: 3_600_000 });
  chat.on("connection", (socket) => {
    void socket.join("everyone");
    socket.on("say", (text: string, told: (count: number) => void) => {
      chat.to("everyone").emit("said", text);
      told(text.length);
    });
  });
  nodeServer(pair.server.listen({ port: 80 }), http);
  const clients = [1, 2].map(() =>
    io(`http://${SERVER}`, {
      transports: ["websocket"],
      forceNew: true,
      agent: agentOf(pair, 80, Infinity) as never,
    })
  );
  onTestFinished(() => {
    clients.forEach((client) => client.disconnect());
    void chat.close();
  });
  await Promise.all(
    clients.map((client) => new Promise<void>((resolve) => client.on("connect", () => resolve()))),
  );
  for (const text of ["hello", "awake again"]) {
    const heard = Promise.all(
      clients.map((client) => new Promise((resolve) => client.once("said", resolve))),
    );
    expect(await clients[0]!.emitWithAck("say", text)).toBe(text.length);
    expect(await heard).toEqual([text, text]);
    await pair.sleep(2);
  }
});
