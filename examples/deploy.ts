/**
 * A server under load is replaced several times, process by process, and nobody notices: no request fails, no
 * connection is reset, every byte of every answer is right.
 *
 * This process only starts the others: servers (deploy/server.ts), each of which takes over from the one before
 * it, and the clients (deploy/client.ts). Run it with `npx tsx`, `deno run -A` or `bun` and this file.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { KernelNetwork } from "./survive_kill/kernel_network.ts";
import { bytesText, Progress, timeText } from "./survive_kill/progress.ts";
import { runtimeName, Worker } from "./survive_kill/worker.ts";

const HELP = `\
Replaces a server under load several times and checks every byte of every answer. Exits with 1 when one request
failed or one connection broke.

  npx tsx examples/deploy.ts [options]

  --connections N  how many speak all the time (default 200); others come for one request each
  --deploys N      how often the server is replaced (default 5)
  --seconds S      how long each server serves (default 2)
  --idle MS        how long a connection is idle before it sleeps (default 100)
  --tun            clients are the Linux kernel's own sockets, in a network namespace that is made for them and
                   removed at the end; needs root and /dev/net/tun
  --seed N         what is said (default 1)
  --json           print the results as JSON; the account goes to standard error
  --help           print this`;

/** The far ends know each other's station address from before: the new server must have the old one's. */
const SERVER_MAC = "52:54:00:70:07:01";
/** Connections that the second octet pair of an address tells apart. */
const CONNECTIONS_MAX = 50_000;

interface Options {
  connections: number;
  deploys: number;
  seconds: number;
  idle: number;
  seed: number;
  tun: boolean;
  json: boolean;
}

interface Results {
  runtime: string;
  link: "unix" | "tun";
  connections: number;
  deploys: { from: number; stopMs: number; startMs: number; recovered: number; longestRequestMs: number }[];
  opened: number;
  requests: number;
  bytesChecked: number;
  failed: string[];
}

process.exitCode = await main(process.argv.slice(2));

/** @returns The exit code. */
async function main(args: string[]): Promise<number> {
  let options: Options | undefined;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (options !== undefined) return await deploy(options);
  console.log(HELP);
  return 0;
}

/** Makes what the run needs and removes it afterwards, whatever happens. */
async function deploy(options: Options): Promise<number> {
  const progress = new Progress(options.json ? process.stderr : process.stdout);
  const folder = mkdtempSync(join(tmpdir(), "torpor-"));
  const network = options.tun ? new KernelNetwork() : undefined;
  const workers: Worker[] = [];
  const cleanUp = async (): Promise<void> => {
    progress.abandon();
    await Promise.all(workers.map((worker) => worker.kill()));
    network?.remove();
    rmSync(folder, { recursive: true, force: true });
  };
  const interrupted = (): void => void cleanUp().finally(() => process.exit(130));
  process.on("SIGINT", interrupted);
  process.on("SIGTERM", interrupted);
  try {
    network?.make();
    const start = (name: string, file: string, args: string[]): Worker => {
      const worker = new Worker(name, `../deploy/${file}`, args, network?.wrap);
      workers.push(worker);
      return worker;
    };
    const results = await run(options, folder, start, progress, network);
    const { failed, requests, bytesChecked, opened } = results;
    progress.line();
    progress.line(
      `  Requests answered    ${requests.toLocaleString("en")}, ${bytesText(bytesChecked)} checked`,
    );
    progress.line(`  Connections opened   ${opened.toLocaleString("en")}`);
    progress.line(`  Failed or reset      ${progress.bold(`${failed.length}`)}`);
    for (const reason of failed.slice(0, 5)) progress.line(`    ${reason}`);
    if (options.json) console.log(JSON.stringify(results));
    return failed.length === 0 ? 0 : 1;
  } catch (error) {
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
  const { connections, deploys, seconds, idle, seed } = options;
  const unix = join(folder, "link.sock");
  const way = network === undefined
    ? ["--unix", unix, "--mac", SERVER_MAC]
    : ["--tun", network.interfaceName];
  const serverArgs = ["--folder", join(folder, "store"), "--idle", `${idle}`, ...way];
  const step = async <T>(label: string, work: () => Promise<T>, result: (value: T) => string): Promise<T> => {
    progress.begin(label);
    const value = await work();
    progress.end(result(value));
    return value;
  };
  const clients = network === undefined ? "a userspace host over a unix socket" : "the Linux kernel over TUN";
  progress.line(progress.bold(`Torpor: a server under load is replaced ${deploys} times`));
  progress.line(`${runtimeName}; ${connections.toLocaleString("en")} connections of ${clients}\n`);

  const client = start("client", "client.ts", [
    ...(network === undefined ? ["--unix", unix] : []),
    ...["--connections", `${connections}`, "--seed", `${seed}`],
  ]);
  await client.ask("counts");
  let server = start("server", "server.ts", serverArgs);
  await server.ask("start");
  await client.ask("speak");
  const served = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  /** Load runs, whatever this machine is busy with: all are connected, some requests for each server. */
  const comesAlong = async (): Promise<Record<string, unknown>> => {
    const before = (await client.ask("counts"))["requests"] as number;
    for (;;) {
      await served();
      const now = await client.ask("counts");
      const all = now["opened"] as number >= connections && now["requests"] as number > before;
      if (all || now["failed"] as number > 0) return now;
    }
  };
  await step(
    "Clients speak",
    comesAlong,
    (now) => `${(now["requests"] as number).toLocaleString("en")} requests`,
  );
  const results: Results["deploys"] = [];
  const lost: string[] = [];
  for (let deploy = 1; deploy <= deploys; deploy++) {
    const former = server;
    lost.push(...(await former.ask("counts"))["lost"] as string[]);
    await client.ask("longest");
    const next = start("server", "server.ts", serverArgs);
    const told = await step(`Deploy ${deploy}`, async () => {
      const told = await next.ask("start");
      await former.ended;
      return told;
    }, (told) => {
      const [stopMs, startMs] = [told["stopMs"] as number, told["startMs"] as number];
      return `process ${former.pid} -> ${next.pid}: ${told["recovered"]} connections, ` +
        `stopped in ${timeText(stopMs)}, there again in ${timeText(startMs)}`;
    });
    server = next;
    await comesAlong();
    const { longestMs } = await client.ask("longest");
    results.push({
      from: told["from"] as number,
      stopMs: told["stopMs"] as number,
      startMs: told["startMs"] as number,
      recovered: told["recovered"] as number,
      longestRequestMs: longestMs as number,
    });
    if (told["from"] !== former.pid) lost.push(`process ${told["from"]} let go, not ${former.pid}`);
  }
  const longestMs = Math.max(0, ...results.map(({ longestRequestMs }) => longestRequestMs));
  const last = await step(
    "Clients stop",
    () => client.ask("stop"),
    () => `the longest request, over a deploy, took ${timeText(longestMs)}`,
  );
  lost.push(...(await server.ask("counts"))["lost"] as string[]);
  return {
    runtime: runtimeName,
    link: network === undefined ? "unix" : "tun",
    connections,
    deploys: results,
    opened: last["opened"] as number,
    requests: last["requests"] as number,
    bytesChecked: last["bytesChecked"] as number,
    failed: [...last["failed"] as string[], ...lost.map((reason) => `server: ${reason}`)],
  };
}

/** @returns Undefined when help is wanted. */
function parseOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      connections: { type: "string", default: "200" },
      deploys: { type: "string", default: "5" },
      seconds: { type: "string", default: "2" },
      idle: { type: "string", default: "100" },
      seed: { type: "string", default: "1" },
      tun: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const number = (name: "connections" | "deploys" | "seconds" | "idle" | "seed", most: number): number => {
    const value = Number(values[name]);
    if (values[name] !== "" && value >= 0 && value <= most) return value;
    throw new Error(`--${name} ${values[name]}: need a number up to ${most}`);
  };
  return {
    connections: Math.floor(number("connections", CONNECTIONS_MAX)),
    deploys: Math.floor(number("deploys", 1_000)),
    seconds: number("seconds", 3_600),
    idle: number("idle", 3_600_000),
    seed: Math.floor(number("seed", 0xffff)),
    tun: values.tun,
    json: values.json,
  };
}
