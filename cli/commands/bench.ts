import { availableParallelism, cpus } from "node:os";
import process from "node:process";
import { runtime } from "../../base/runtime.ts";
import { Histogram } from "../../base/histogram.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { MemoryStore } from "../../checkpoint/store/memory_store.ts";
import type { Store } from "../../checkpoint/store/store.ts";
import { pipe } from "../../net/link/pipe.ts";
import { Host } from "../../net/socket/host.ts";
import type { TcpConnection } from "../../net/socket/conn.ts";
import { readArguments, wholeNumber } from "../arguments.ts";
import { type Command, type Terminal, UsageError } from "../command.ts";
import { Progress } from "../progress.ts";
import { secondsText } from "../units.ts";

const HELP = `\
Measures, in a few seconds, what sleep costs on this machine: connections of
two hosts in one process are put to sleep, and each is spoken to, asleep and
awake. The repository's "npm run bench" measures more, beside its peers.

  torpor bench [FOLDER] [options]

  FOLDER           a folder to sleep in, which must not be a store yet; it
                   stays, with nothing in it. Without one: in memory
  --connections N  how many (default 2000)
  --json           one object
  --help           print this

  torpor bench
  torpor bench /var/lib/myserver/bench --connections 10000

Exit codes: 0 done, 2 the folder is in use or the command line is wrong.
`;

const MESSAGE = new TextEncoder().encode("are you there?");

/** `torpor bench`. */
export const bench: Command = {
  name: "bench",
  summary: "measures what sleep costs on this machine",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder, more], values } = readArguments(args, {
      connections: { type: "string", default: "2000" },
    });
    if (more !== undefined) throw new UsageError("one folder is enough");
    const count = wholeNumber("connections", values.connections, 1, 20_000);
    const store = folder === undefined ? new MemoryStore() : await emptyStore(folder);
    const measured = await measure(store, count, new Progress(terminal));
    const machine = `${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, ` +
      `${runtime} ${process.versions[runtime] ?? ""}`;
    if (json) terminal.out(`${JSON.stringify({ machine, connections: count, folder, ...measured })}\n`);
    else terminal.out(textOf(measured, machine, folder ?? "memory"));
    return 0;
  },
};

interface Measured {
  readonly suspendsPerSecond: number;
  readonly imageBytes: number;
  readonly answerAsleepSeconds: { readonly p50: number; readonly p99: number };
  readonly answerAwakeSeconds: { readonly p50: number; readonly p99: number };
}

async function emptyStore(folder: string): Promise<Store> {
  const store = await FileStore.open(folder);
  if (store.stats.recordsLive === 0) return store;
  await store.close();
  throw new UsageError(`connections sleep in "${folder}": give a folder of its own`);
}

async function measure(store: Store, count: number, progress: Progress): Promise<Measured> {
  const [left, right] = pipe({ medium: "ip" });
  const server = new SleepyHost({
    interfaces: [{ link: left }],
    addresses: [{ address: "10.0.0.1/16" }],
    store,
    idleMs: 3_600_000,
  });
  server.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
  const client = new Host({ interfaces: [{ link: right }], addresses: [{ address: "10.0.0.2/16" }] });
  try {
    const conns: TcpConnection[] = [];
    for (let at = 0; at < count; at++) {
      conns.push(await client.connect({ hostname: "10.0.0.1", port: 7 }));
      await ask(conns[at]!);
      progress.show(`${at + 1} of ${count} connections are open`);
    }
    await server.sleeper.suspendAll(); // once for the compiler, which is what a server that runs has behind it
    await each(conns, progress, "sleepers are asked");
    progress.show("they fall asleep");
    let imageBytes = 0;
    server.sleeper.on("suspended", (event) => imageBytes += event.imageBytes);
    const suspendMs = performance.now();
    const suspends = await server.sleeper.suspendAll();
    const suspendSeconds = (performance.now() - suspendMs) / 1_000;
    const asleep = await each(conns, progress, "sleepers are asked");
    const awake = await each(conns, progress, "they are asked again");
    progress.end();
    for (const conn of conns) conn.close();
    return {
      suspendsPerSecond: Math.round(suspends / suspendSeconds),
      imageBytes: Math.round(imageBytes / Math.max(1, suspends)),
      answerAsleepSeconds: { p50: asleep.quantile(0.5), p99: asleep.quantile(0.99) },
      answerAwakeSeconds: { p50: awake.quantile(0.5), p99: awake.quantile(0.99) },
    };
  } finally {
    progress.end();
    client.close(); // resets: nobody shall sleep in the store afterwards
    await new Promise((resolve) => setTimeout(resolve, 100));
    await server.shutdown();
  }
}

/** A bucket every 10 %: the answer is a figure, not a decade. */
const BOUNDS = Array.from({ length: 160 }, (_, at) => 1e-6 * 1.1 ** at);

async function each(conns: readonly TcpConnection[], progress: Progress, what: string): Promise<Histogram> {
  const took = new Histogram(BOUNDS);
  for (const [at, conn] of conns.entries()) {
    const startMs = performance.now();
    await ask(conn);
    took.record((performance.now() - startMs) / 1_000);
    progress.show(`${at + 1} of ${conns.length}: ${what}`);
  }
  return took;
}

const answer = new Uint8Array(64);

async function ask(conn: TcpConnection): Promise<void> {
  await conn.write(MESSAGE);
  for (let got = 0; got < MESSAGE.length;) {
    const length = await conn.read(answer);
    if (length === null) throw new Error("The connection has ended");
    got += length;
  }
}

function textOf(measured: Measured, machine: string, place: string): string {
  const { suspendsPerSecond, imageBytes, answerAsleepSeconds, answerAwakeSeconds } = measured;
  const took = ({ p50, p99 }: { p50: number; p99: number }): string =>
    `half within ${secondsText(p50)}, 99% within ${secondsText(p99)}`;
  return `${machine}, in ${place}
suspended, durable    ${suspendsPerSecond.toLocaleString("en")} per second, ${imageBytes} bytes each
answer of a sleeper   ${took(answerAsleepSeconds)}
answer when awake     ${took(answerAwakeSeconds)}
`;
}
