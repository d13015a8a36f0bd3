import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import process from "node:process";
import { afterAll, expect, test } from "vitest";
import { HandoverError } from "../../checkpoint/handover/handover_error.ts";
import { offerHandover } from "../../checkpoint/handover/offer.ts";
import { GREETING, takeOver } from "../../checkpoint/handover/take_over.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { MemoryStore } from "../../checkpoint/store/memory_store.ts";
import type { Link } from "../../net/link/link.ts";
import { pipe } from "../../net/link/pipe.ts";
import { ReconnectingLink } from "../../net/link/reconnecting.ts";
import { Host } from "../../net/socket/host.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { answers, text } from "./counter.ts";

const folder = new TemporaryFolder();
afterAll(() => folder[Symbol.dispose]());
let paths = 0;
const newPath = (): string => folder.file(`handover ${++paths}`);
const SERVER_MAC = "52:54:00:70:07:01";

/** What a takeover ends with, when it does not come about. */
async function refusal(attempt: Promise<unknown>): Promise<HandoverError> {
  const error = await attempt.then(() => undefined, (error) => error);
  expect(error).toBeInstanceOf(HandoverError);
  return error;
}

test("a host hands over to the next: connections go on, and nobody hears a reset", async () => {
  const [store, path] = [folder.file("store"), newPath()];
  const cable = new ReconnectingLink();
  using client = new Host({
    interfaces: [{ link: cable }],
    addresses: [{ address: "10.0.0.2/24" }],
  });
  const start = async (): Promise<SleepyHost> => {
    const [link, far] = pipe();
    cable.attach(far);
    const host = new SleepyHost({
      interfaces: [{ link, mac: SERVER_MAC }],
      addresses: [{ address: "10.0.0.1/24" }],
      store: await FileStore.open(store),
      idleMs: 60_000,
    });
    host.serve({
      port: 7,
      open: (connection) => void (connection.attachment = 0),
      data: (connection, bytes) => {
        const count = (connection.attachment as number) + 1;
        connection.attachment = count;
        connection.write(text(`${count}:${new TextDecoder().decode(bytes)};`));
      },
    });
    return host;
  };
  let host = await start();
  const conns = await Promise.all(
    Array.from({ length: 20 }, () => client.connect({ hostname: "10.0.0.1", port: 7 })),
  );
  for (let round = 1; round <= 3; round++) {
    const asked = conns.map(async (conn, index) => {
      await conn.write(text(`${index}`));
      return await answers(conn, 1);
    });
    if (round > 1) { // in the middle of it
      const offer = await host.offerHandover(path);
      expect(statSync(path).mode & 0o777).toBe(0o600);
      const taken = await SleepyHost.takeOver(path);
      expect(taken).toEqual({ pid: process.pid, connections: 20 });
      expect(await offer.done).toBe(true);
      expect([host.closed, existsSync(path)]).toEqual([true, false]);
      host = await start();
      expect(host.recovered.connections).toBe(20);
    }
    expect(await Promise.all(asked)).toEqual(conns.map((_, index) => `${round}:${index};`));
  }
  const offer = await host.offerHandover(path);
  await host.shutdown();
  expect([await offer.done, existsSync(path)]).toEqual([false, false]);
}, 60_000);

test("who has taken over can have the devices: of a link that takes long to close as well", async () => {
  const path = newPath();
  const [near] = pipe();
  const done: string[] = [];
  const link = Object.assign(Object.create(near) as Link, {
    open: near.open.bind(near),
    close: async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      done.push("link");
    },
  });
  const host = new SleepyHost({
    interfaces: [{ link }],
    addresses: [{ address: "10.0.0.1/24" }],
    store: new MemoryStore(),
  });
  await host.offerHandover(path);
  await SleepyHost.takeOver(path);
  done.push("taken over");
  expect(done).toEqual(["link", "taken over"]);
});

test("nobody is there: no file, and the file of a process that has died, which the next offer replaces", async () => {
  const path = newPath();
  expect(await refusal(takeOver(path))).toMatchObject({ reason: "nobody", stopping: false });
  const dying = spawn(RUN_ON.node[0]!, [
    "-e",
    `require("net").createServer().listen(${JSON.stringify(path)})`,
  ]);
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 5));
  dying.kill("SIGKILL");
  await once(dying, "close");
  expect((await refusal(takeOver(path))).message).toContain("nobody offers one there");
  const offer = await offerHandover(path, () => Promise.resolve(3));
  expect(await takeOver(path)).toEqual({ pid: process.pid, connections: 3 });
  expect(await offer.done).toBe(true);
});

test("an offer refuses a path that is taken, no socket, or too long", async () => {
  const path = newPath();
  const offer = await offerHandover(path, () => Promise.resolve(0));
  const stop = (): Promise<number> => Promise.resolve(0);
  expect(await refusal(offerHandover(path, stop))).toMatchObject({ reason: "busy" });
  await offer.close();
  expect(await offer.done).toBe(false);
  expect(existsSync(path)).toBe(false);
  const file = newPath();
  writeFileSync(file, "");
  expect((await refusal(offerHandover(file, stop))).message).toContain("not a socket");
  expect(await refusal(offerHandover(folder.file("x".repeat(200)), stop))).toMatchObject({
    reason: "failed",
  });
  expect(await refusal(offerHandover(folder.file("no/folder"), stop))).toMatchObject({ reason: "failed" });
});

test("who goes away before saying stop, or says something else, has changed nothing", async () => {
  const path = newPath();
  let stopped = 0;
  const offer = await offerHandover(path, () => Promise.resolve(++stopped));
  for (const said of ["", `${GREETING} 1\n`, `${GREETING} 1\nperhaps\n`, "hello\n", "x".repeat(10_000)]) {
    const socket = connect({ path });
    await once(socket, "connect");
    socket.end(said);
    socket.resume();
    socket.on("error", () => {}); // reset, for the long line
    await once(socket, "close");
  }
  const already = AbortSignal.abort(new Error("no more"));
  await expect(takeOver(path, { signal: already })).rejects.toThrow("no more");
  expect(stopped).toBe(0);
  expect(await takeOver(path)).toMatchObject({ connections: 1 });
  expect(await offer.done).toBe(true);
});

test("one at a time: a second asker is told that the first is being served", async () => {
  const path = newPath();
  let finish: (() => void) | undefined;
  const before = (): Promise<void> => new Promise((resolve) => finish = resolve);
  const offer = await offerHandover(path, () => Promise.resolve(5), { before });
  const first = takeOver(path);
  while (finish === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(await refusal(takeOver(path))).toMatchObject({ reason: "busy", stopping: false });
  await offer.close(); // too late: it is under way
  finish();
  expect(await first).toMatchObject({ connections: 5 });
  expect(await offer.done).toBe(true);
});

test("a process that is stuck is told apart: before it was told to stop, and after", async () => {
  const [path, silent] = [newPath(), newPath()];
  const offer = await offerHandover(path, () => new Promise(() => {}));
  offer.done.catch(() => {});
  const after = await refusal(takeOver(path, { timeoutMs: 100 }));
  expect(after).toMatchObject({ reason: "stuck", stopping: true });
  expect(after.message).toMatch(/has not let go in 100 ms/);
  const server = createServer(() => {}).listen(silent);
  await once(server, "listening");
  const before = await refusal(takeOver(silent, { timeoutMs: 100 }));
  expect(before).toMatchObject({ reason: "stuck", stopping: false });
  expect(before.message).toMatch(/has not answered in 100 ms/);
  const cancel = new AbortController();
  const cancelled = takeOver(silent, { signal: cancel.signal });
  cancel.abort(new Error("enough"));
  await expect(cancelled).rejects.toThrow("enough");
  server.close();
});

test("a process that fails says why, one that dies or speaks otherwise is told as that", async () => {
  const path = newPath();
  const offer = await offerHandover(path, () => Promise.reject(new Error("disk is\nfull")));
  const failed = await refusal(takeOver(path));
  expect(failed).toMatchObject({ reason: "failed", stopping: true });
  expect(failed.message).toContain("disk is full");
  await expect(offer.done).rejects.toThrow("disk is");
  for (
    const [says, reason] of [
      ["ready 1\n", "gone"],
      ["SSH-2.0-OpenSSH\r\n", "strange"],
      ["ready 1\ngo home\n", "strange"],
      ["", "gone"],
    ] as const
  ) {
    const other = newPath();
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end(says));
    }).listen(other);
    await once(server, "listening");
    expect(await refusal(takeOver(other)), says).toMatchObject({ reason });
    server.close();
  }
});
