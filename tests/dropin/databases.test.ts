import { spawn } from "node:child_process";
import { connect as connectKernel } from "node:net";
import { Redis } from "ioredis";
import pg from "pg";
import { expect, onTestFinished } from "vitest";
import { nodeServer, StackSocket } from "../../net/socket/stack_socket.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { startPostgres } from "./postgres.ts";
import { SERVER, type SleepyPair, sleepyPair } from "./world.ts";

/** Puts a server of the kernel's, on a unix socket, behind a port of ours. */
function expose({ server }: SleepyPair, port: number, path: string): void {
  nodeServer(server.listen({ port }), (socket) => {
    const behind = connectKernel(path);
    socket.pipe(behind).pipe(socket);
    socket.on("error", () => behind.destroy());
    behind.on("error", () => socket.destroy());
  });
}

judge(
  "ioredis: commands, a pipeline and a subscription over connections that sleep",
  ["redis-server"],
  async () => {
    const pair = sleepyPair();
    const folder = new TemporaryFolder();
    const path = folder.file("redis.sock");
    const redis = spawn("redis-server", [
      "--port",
      "0",
      "--unixsocket",
      path,
      "--save",
      "",
      "--dir",
      folder.path,
    ]);
    onTestFinished(async () => {
      redis.kill();
      await new Promise((resolve) => void redis.once("exit", resolve));
      folder[Symbol.dispose]();
    });
    await new Promise<void>((resolve, reject) => {
      redis.stdout.on("data", (text) => `${text}`.includes("ready to accept") && resolve());
      redis.once("error", reject);
    });
    expose(pair, 6379, path);
    class OverOurStack {
      connecting = false;
      firstError: Error | undefined;
      check(): boolean {
        return true;
      }
      disconnect(): void {}
      connect(): Promise<unknown> {
        const socket = pair.connect(6379);
        return new Promise((resolve, reject) => {
          socket.once("connect", () => resolve(socket)).once("error", reject);
        });
      }
    }
    const client = (): Redis => {
      const made = new Redis({
        Connector: OverOurStack as never,
        retryStrategy: null as never,
        lazyConnect: true,
      });
      onTestFinished(() => made.disconnect());
      return made;
    };
    const [asking, listening] = [client(), client()];
    await Promise.all([asking.connect(), listening.connect()]);
    await listening.subscribe("news");
    for (const text of ["one", "x".repeat(100_000)]) {
      expect(await asking.set("key", text)).toBe("OK");
      await pair.sleep(2);
      expect(await asking.get("key")).toBe(text);
      const results = await asking.pipeline().incr("count").incr("count").exec();
      expect(results!.map(([error]) => error)).toEqual([null, null]);
      const heard = new Promise((resolve) =>
        listening.once("message", (_channel, message) => resolve(message))
      );
      await asking.publish("news", text);
      expect(await heard).toBe(text);
      await pair.sleep(2);
    }
    expect(await asking.get("count")).toBe("4");
  },
);

judge("pg: a transaction whose connection sleeps in the middle of it", ["postgres", "initdb"], async () => {
  const pair = sleepyPair();
  const { path, user } = await startPostgres();
  expose(pair, 5432, path);
  const stream = () => new StackSocket(pair.client) as never; // which pg connects by itself
  const client = new pg.Client({ user, database: "postgres", host: SERVER, port: 5432, stream });
  await client.connect();
  await client.query("create table notes (id serial primary key, text text)");
  await client.query("begin");
  await client.query("insert into notes (text) values ($1), ($2)", ["one", "two"]);
  await pair.sleep();
  await client.query("insert into notes (text) select repeat('x', 100000)");
  await client.query("commit");
  await pair.sleep();
  const { rows } = await client.query("select id, length(text) as length from notes order by id");
  expect(rows).toEqual([{ id: 1, length: 3 }, { id: 2, length: 3 }, { id: 3, length: 100_000 }]);
  await client.end();
}, 60_000);
