/**
 * THE MAIN JOB. 10,000 connections arrive at a server, talk and fall asleep; the server is killed with
 * kill -9 and started again; all of them go on as if nothing had been.
 *
 * This process only starts and kills the others: the server (survive_kill/server.ts) and the clients
 * (survive_kill/client.ts). Run it with `npm start`, or with `deno run -A` or `bun` and this file.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { FileStore } from "../mod.ts";
import { KernelNetwork } from "./survive_kill/kernel_network.ts";
import { HELP, type Options, parseOptions } from "./survive_kill/options.ts";
import { bytesText, Progress } from "./survive_kill/progress.ts";
import { type AnswerTimes, type Memory, resultLines, type Results } from "./survive_kill/results.ts";
import { runtimeName, Worker } from "./survive_kill/worker.ts";

/** The far ends know each other's station address from before: the new server must have the old one's. */
const SERVER_MAC = "52:54:00:70:07:01";
/** From a record's place in its segment to a byte well inside its image. */
const BYTES_INTO_IMAGE = 60;
const ROUND = { awake: 0, measuredAwake: 1, afterKill: 2 } as const;

process.exitCode = await main(process.argv.slice(2));

/** @returns The exit code. */
async function main(args: string[]): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (!options.help) return await survive(options);
  console.log(HELP);
  return 0;
}

/** Makes what the run needs and removes it afterwards, whatever happens. */
async function survive(options: Options): Promise<number> {
  const progress = new Progress(options.json ? process.stderr : process.stdout);
  const folder = mkdtempSync(join(tmpdir(), "torpor-"));
  const network = options.tun ? new KernelNetwork() : undefined;
  const workers: Worker[] = [];
  let cleaned: Promise<void> | undefined;
  const cleanUp = (): Promise<void> =>
    cleaned ??= (async () => {
      progress.abandon();
      await Promise.all(workers.map((worker) => worker.kill()));
      network?.remove();
      if (!options.keep) rmSync(folder, { recursive: true, force: true });
    })();
  const interrupted = (): void => void cleanUp().finally(() => process.exit(130));
  process.on("SIGINT", interrupted);
  process.on("SIGTERM", interrupted);
  try {
    network?.make();
    const start = (name: string, file: string, args: string[]): Worker => {
      const worker = new Worker(name, file, args, network?.wrap);
      workers.push(worker);
      return worker;
    };
    const results = await run(options, folder, start, progress, network);
    progress.line();
    for (const line of resultLines(results, (text) => progress.bold(text))) progress.line(line);
    if (options.keep) progress.line(`\n  Images are kept in ${folder}`);
    if (options.json) console.log(JSON.stringify(results));
    return results.broken === 0 ? 0 : 1;
  } catch (error) {
    if (cleaned !== undefined) await new Promise(() => {}); // interrupted: the process ends in a moment
    progress.abandon();
    console.error(`✗ ${error instanceof Error ? error.message : error}`);
    return 1;
  } finally {
    await cleanUp();
    process.off("SIGINT", interrupted);
    process.off("SIGTERM", interrupted);
  }
}

async function run(
  options: Options,
  folder: string,
  start: (name: string, file: string, args: string[]) => Worker,
  progress: Progress,
  network: KernelNetwork | undefined,
): Promise<Results> {
  const { connections } = options;
  const samples = Math.min(connections, 200);
  const early = Math.min(connections - samples, 100);
  const store = join(folder, "store");
  const unix = join(folder, "link.sock");
  mkdirSync(store);
  const way = network === undefined
    ? ["--unix", unix, "--mac", SERVER_MAC]
    : ["--tun", network.interfaceName];
  const serverArgs = ["--folder", store, ...way];
  const clientArgs = [
    ...(network === undefined ? ["--unix", unix] : []),
    ...["--connections", `${connections}`, "--seed", `${options.seed}`],
  ];
  type Tell = (done: number) => void;
  const step = async <T>(
    label: string,
    work: (tell: Tell) => Promise<T>,
    result: (value: T) => string,
  ): Promise<T> => {
    progress.begin(label);
    const value = await work((done) => progress.at(done, connections));
    progress.end(result(value));
    return value;
  };
  const clients = network === undefined ? "clients of a userspace host" : "clients of the Linux kernel";
  progress.line(progress.bold(`Torpor: ${connections.toLocaleString("en")} connections survive kill -9`));
  progress.line(
    `${runtimeName}, ${process.platform} ${process.arch}, ${availableParallelism()} cores; ` +
      `${clients} over ${network === undefined ? "a unix socket" : "TUN"}\n`,
  );

  let server = start("server", "server.ts", [...serverArgs, "--awake"]);
  const [client, empty] = await step("Start server and clients", async () => {
    await server.ask("ready");
    const client = start("client", "client.ts", clientArgs);
    await client.ask("warmUp");
    await server.ask("nap");
    await client.ask("coolDown");
    await server.ask("forgetWarmUp");
    return [client, await memory(server)] as const;
  }, () => `server is process ${server.pid}`);
  await step("Open the connections", (tell) => client.ask("connect", {}, tell), rate(connections));
  await step(
    "Say a random message on each, check the answer",
    (tell) => client.ask("speak", { round: ROUND.awake, from: 0 }, tell),
    checked,
  );
  const awakeAnswer = await client.ask("measure", { round: ROUND.measuredAwake, from: 0, to: samples });
  const awake = await memory(server);
  const slept = await step(
    "Let them sleep",
    (tell) => server.ask("sleep", {}, tell),
    (value) => `${bytesText(value["bytesTotal"] as number)} of images`,
  );
  const asleep = await memory(server);
  const reasons = [...(await server.ask("report"))["lost"] as string[]];

  const killedAtMs = performance.now();
  progress.begin(`kill -9 ${server.pid}`);
  await server.kill();
  progress.end("the process and its memory are gone");
  const diskBytes = folderBytes(store);
  if (options.canary) await damageOneImage(store);
  await client.ask("speakIntoTheDark", { round: ROUND.afterKill, to: early });
  server = start("server", "server.ts", serverArgs);
  const ready = await step(
    "Start it again",
    () => server.ask("ready"),
    (value) =>
      `process ${server.pid} knows ${(value["recovered"] as number).toLocaleString("en")} connections`,
  );
  const killToReadyMs = performance.now() - killedAtMs;
  const restarted = await memory(server);
  const asleepAnswer = await client.ask("measure", {
    round: ROUND.afterKill,
    from: early,
    to: early + samples,
  });
  const last = await step(
    "Speak on all of them again, check the answers",
    (tell) => client.ask("speak", { round: ROUND.afterKill, from: early + samples }, tell),
    checked,
  );
  const report = await server.ask("report");

  reasons.push(...last["reasons"] as string[], ...report["lost"] as string[]);
  let broken = last["broken"] as number;
  const expect = (name: string, count: unknown, expected: number): void => {
    if (count === expected) return;
    reasons.push(`${name}: ${count} connections, expected ${expected}`);
    broken = Math.max(broken, Math.abs(expected - (count as number)));
  };
  // A pause in the middle of a message may put a connection to sleep twice.
  const once = (count: unknown): number => Math.min(count as number, connections);
  expect("fell asleep", once(slept["suspended"]), connections);
  expect("found in the store", ready["recovered"], connections);
  expect("opened anew after the kill", report["opened"], 0);
  expect("closed after the kill", report["closed"], 0);
  expect("woken after the kill", once(report["restored"]), connections);
  return {
    runtime: runtimeName,
    link: network === undefined ? "unix" : "tun",
    connections,
    bytesChecked: last["bytesChecked"] as number,
    memory: { empty, awake, asleep, restarted },
    diskBytes,
    imageBytes: slept["bytesLive"] as number,
    suspendedPerSecond: connections / Math.max(1, slept["suspendMs"] as number) * 1_000,
    killToReadyMs,
    spokeWhileDead: early,
    answerAwake: times(awakeAnswer),
    answerAsleep: times(asleepAnswer),
    broken: reasons.length > 0 ? Math.max(1, broken) : 0,
    reasons,
  };
}

async function memory(server: Worker): Promise<Memory> {
  return await server.ask("memory") as unknown as Memory;
}

function times(answer: Record<string, unknown>): AnswerTimes {
  return { p50Ms: answer["p50Ms"] as number, p99Ms: answer["p99Ms"] as number };
}

function rate(count: number): (value: Record<string, unknown>) => string {
  return ({ elapsedMs }) =>
    `${Math.round(count / (elapsedMs as number) * 1_000).toLocaleString("en")} per second`;
}

function checked(value: Record<string, unknown>): string {
  return `${bytesText(value["bytesChecked"] as number)} checked, ${value["broken"]} broken`;
}

function folderBytes(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

/** Flips one bit of an image that is in force: of those that connections have woken from since, none matters. */
async function damageOneImage(folder: string): Promise<void> {
  const store = await FileStore.open(folder);
  const locations = Array.from(store.live(), ({ location }) => location);
  await store.close();
  const location = locations[locations.length >>> 1]!;
  const path = join(folder, `${String(Math.floor(location / 2 ** 32)).padStart(8, "0")}.seg`);
  const bytes = readFileSync(path);
  bytes[location % 2 ** 32 + BYTES_INTO_IMAGE]! ^= 1;
  writeFileSync(path, bytes);
}
