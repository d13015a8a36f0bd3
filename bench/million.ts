import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { NetworkNamespace } from "../tests/support/netns.ts";
import type { Bench, Cell, Table } from "./bench.ts";
import type { Checked, Connected, Spoken } from "./million/client_worker.ts";
import { clientAddress, makeNetwork, SOCKETS_MAX } from "./million/network.ts";
import type { Held, Ready } from "./million/server_worker.ts";
import { Worker } from "./worker.ts";

const COUNT = 100_000;
const COUNT_QUICK = 2_000;
const COUNT_FULL = 1_000_000;
const IDLE_MS = 500;
/** Clients that connect, or speak, at a time: processes share the machine with the server. */
const AT_ONCE = 4;
const SPEAKING_SHARE = 0.01;
const ASLEEP_WITHIN_MS = 120_000;

/** Connections of the Linux kernel's own clients through TUN, all asleep in one process, which is killed as well. */
export const bench: Bench = {
  async *run({ quick, full }) {
    const count = quick ? COUNT_QUICK : full ? COUNT_FULL : COUNT;
    const folder = mkdtempSync(join(tmpdir(), "torpor-million-"));
    const clients = Math.ceil(count / SOCKETS_MAX);
    const processes: Worker[] = [];
    let netns: NetworkNamespace | undefined;
    try {
      netns = makeNetwork(clients);
      yield await hold(count, clients, netns, folder, processes);
    } catch (error) {
      const why = (error as Error).message.split("\n")[0]!;
      yield { title: "the kernel's clients asleep: not measured", columns: [""], rows: [[why]] };
    } finally {
      for (const each of processes) await each[Symbol.asyncDispose]();
      netns?.[Symbol.dispose]();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function hold(
  count: number,
  clients: number,
  netns: NetworkNamespace,
  folder: string,
  processes: Worker[],
): Promise<Table> {
  const start = async <T>(file: string, args: readonly (string | number)[]): Promise<[Worker, T]> => {
    const worker = new Worker(`million/${file}`, args, [], netns.name);
    processes.push(worker);
    return [worker, await worker.answer<T>()];
  };
  let [server] = await start<Ready>("server_worker.ts", [folder, IDLE_MS]);
  const workers: Worker[] = [];
  for (let index = 0; index < clients; index++) {
    const share = Math.floor(count * (index + 1) / clients) - Math.floor(count * index / clients);
    workers.push((await start("client_worker.ts", [clientAddress(index), share]))[0]);
  }
  const startMs = performance.now();
  const connected = sum(await askAll<Connected>(workers, () => "connect"), ({ connected }) => connected);
  const connectMs = performance.now() - startMs;
  const asleep = await untilAsleep(server, connected);
  const disk = readdirSync(folder).reduce(
    (bytes, name) => bytes + statSync(join(folder, name)).blocks * 512,
    0,
  );
  const some = Math.ceil(count * SPEAKING_SHARE / clients);
  const first = await askAll<Spoken>(workers, (index) => `speak ${some} ${1 + index}`);
  const woken = await untilAsleep(server, connected);
  const whole = sum(await askAll<Checked>(workers, () => "check"), ({ whole }) => whole);

  await server.kill();
  const [again, ready] = await start<Ready>("server_worker.ts", [folder, IDLE_MS]);
  server = again;
  const second = await askAll<Spoken>(workers, (index) => `speak ${some} ${1_001 + index}`);
  const after = await untilAsleep(server, connected);
  const wholeAfter = sum(await askAll<Checked>(workers, () => "check"), ({ whole }) => whole);

  const rows: Cell[][] = [
    ["connections", connected],
    ["asked for", count],
    ["connected per second", connected / connectMs * 1000],
    ["asleep", asleep.asleep],
    ["RSS over the empty process, MB", asleep.rssBytes / 1e6],
    ["RSS, bytes each", asleep.rssBytes / connected],
    ["heap and buffers, bytes each", asleep.usedBytes / connected],
    ["on disk, bytes each", disk / connected],
    ["woken by data", woken.toApplicationUs.length],
    ...speaking("", first, woken),
    ["without reset or end", whole],
    ["killed; ready again after, ms", ready.readyMs],
    ["found asleep", ready.recovered],
    ...speaking(", after kill -9", second, after),
    ["without reset or end, after kill -9", wholeAfter],
    ["broken, lost, refused", woken.broken + after.broken],
  ];
  return {
    title: `${
      count.toLocaleString("en-US")
    } connections of the Linux kernel's clients through TUN, asleep in one process`,
    columns: ["", "figure"],
    rows,
    notes: [
      `${clients} client processes, each with an address of its own. Each connection carried 8 bytes and their echo before.`,
      `Then ${
        SPEAKING_SHARE * 100
      } % of them, drawn, speak, ${AT_ONCE} at a time: from the packet that TUN gave us to the application, and the`,
      "client's whole round trip through the kernel, both processes sharing the machine with all the others.",
    ],
  };
}

function speaking(when: string, spoken: readonly Spoken[], held: Held): Cell[][] {
  const trips = spoken.flatMap(({ us }) => us);
  return [
    [`packet to application, p50 us${when}`, quantile(held.toApplicationUs, 0.5)],
    [`packet to application, p99 us${when}`, quantile(held.toApplicationUs, 0.99)],
    [`round trip, p50 us${when}`, quantile(trips, 0.5)],
    [`round trip, p99 us${when}`, quantile(trips, 0.99)],
    [`answered wrongly or not at all${when}`, sum(spoken, ({ failed }) => failed)],
  ];
}

/** Asks every worker, a few at a time. */
async function askAll<T>(workers: readonly Worker[], question: (index: number) => string): Promise<T[]> {
  const answers: T[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < workers.length; index = next++) {
      answers[index] = await workers[index]!.ask<T>(question(index));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return answers;
}

/** How the server is, once all of its connections sleep. What it answered the first time is kept. */
async function untilAsleep(server: Worker, connections: number): Promise<Held> {
  const toApplicationUs: number[] = [];
  const untilMs = performance.now() + ASLEEP_WITHIN_MS;
  for (;;) {
    const held = await server.ask<Held>();
    for (const us of held.toApplicationUs) toApplicationUs.push(us);
    if (held.asleep === connections || performance.now() > untilMs) return { ...held, toApplicationUs };
    await setTimeout(IDLE_MS);
  }
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function quantile(figures: readonly number[], q: number): number | undefined {
  return [...figures].sort((a, b) => a - b)[Math.floor(figures.length * q)];
}
