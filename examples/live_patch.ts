/**
 * A chat server with 1,000 open connections is patched under load, and rolled back: a bug is fixed, its private state gets
 * a new field, no request fails, no connection is lost. In between it is killed, and comes back patched.
 *
 * This process is the clients; the server is another one (live_patch/server.ts), loaded through the hook that makes its
 * modules patchable. Patches are built and applied by `torpor`. Run it with `npx tsx`, `deno run -A` or `bun` and this file.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { Crowd } from "./live_patch/crowd.ts";
import { Progress } from "./survive_kill/progress.ts";
import { runFile, runtimeName, Worker } from "./survive_kill/worker.ts";

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "1000" },
    talking: { type: "string", default: "200" },
    seconds: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const CONNECTIONS = Number(values.connections);
const TALKING = Number(values.talking);
const IDLE_MS = 300;

const progress = new Progress(values.json ? process.stderr : process.stdout);
const folder = mkdtempSync(join(tmpdir(), "torpor-"));
const crowd = new Crowd();
let server: Worker | undefined;
process.exitCode = 1;
try {
  await run();
} finally {
  progress.abandon();
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
}
process.exit();

async function run(): Promise<void> {
  const unix = join(folder, "wire");
  progress.begin(`Open ${CONNECTIONS} connections`);
  const opened = crowd.open(unix, CONNECTIONS);
  await startServer(unix);
  await opened;
  await crowd.all();
  progress.end(`${runtimeName}, everybody was answered by the old code`);

  crowd.talk(TALKING);
  progress.begin("Build the patch");
  const patch = join(folder, "fix.patch");
  await torpor(
    "patch",
    "build",
    "--source",
    source("fix.ts"),
    source("rooms.ts"),
    "--out",
    patch,
    "--module",
    "rooms.ts",
  );
  progress.end();
  await until("the rest sleeps", ({ asleep }) => asleep >= CONNECTIONS - TALKING);

  progress.begin(`Apply it, while ${TALKING} talk and ${CONNECTIONS - TALKING} sleep`);
  crowd.expected = undefined;
  const { tookMs } = await torpor("patch", "apply", folder, patch, "--json") as Applied;
  crowd.expected = "new";
  progress.end(`compiled in ${tookMs.stage.toFixed(1)} ms, switched in ${tookMs.switch.toFixed(2)} ms`);
  await seconds();
  await crowd.all(TALKING);
  await crowd.hush();
  progress.begin("Those who slept have woken on the new code; now everybody sleeps");
  await until("everybody sleeps", ({ asleep }) => asleep === CONNECTIONS);
  progress.end();

  progress.begin("Kill the server with SIGKILL, and start it again");
  await server!.kill();
  crowd.forget();
  const { restored } = await startServer(unix);
  await crowd.all();
  progress.end(`${restored[0]?.name} is ${restored[0]?.became} again`);

  crowd.talk(TALKING);
  await seconds();
  progress.begin("Roll it back under load");
  crowd.expected = undefined;
  await torpor("patch", "rollback", folder);
  crowd.expected = "old";
  progress.end();
  await seconds();
  await crowd.all(TALKING);
  await crowd.hush();

  const { lost } = await counts();
  const failed = [...crowd.failed, ...lost];
  progress.line(`  Answers of the old code  ${crowd.answers.old.toLocaleString("en")}`);
  progress.line(`  Answers of the new code  ${crowd.answers.new.toLocaleString("en")}`);
  progress.line(`  Failed or lost           ${failed.length}`);
  for (const reason of failed.slice(0, 5)) progress.line(`    ${reason}`);
  if (values.json) {
    const results = {
      runtime: runtimeName,
      connections: CONNECTIONS,
      answers: crowd.answers,
      tookMs,
      restored,
      failed,
    };
    console.log(JSON.stringify(results));
  }
  process.exitCode = failed.length === 0 && crowd.answers.new > 0 ? 0 : 1;
}

interface Applied {
  readonly tookMs: { readonly stage: number; readonly switch: number };
}

interface Counts {
  readonly awake: number;
  readonly asleep: number;
  readonly spoken: number;
  readonly lost: readonly string[];
}

async function startServer(unix: string): Promise<{ restored: { name: string; became: string }[] }> {
  const args = ["--folder", folder, "--unix", unix, "--idle", `${IDLE_MS}`];
  server = new Worker("server", "../live_patch/server.ts", args, [], "patching/load");
  return await server.ask("start") as { restored: { name: string; became: string }[] };
}

async function counts(): Promise<Counts> {
  return await server!.ask("counts") as unknown as Counts;
}

async function until(what: string, holds: (counts: Counts) => boolean): Promise<void> {
  for (const from = performance.now(); performance.now() - from < 60_000;) {
    if (holds(await counts())) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`In a minute, not once: ${what}`);
}

function seconds(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1_000 * Number(values.seconds)));
}

function source(name: string): string {
  return new URL(`live_patch/${name}`, import.meta.url).pathname;
}

/** Runs the command line, in a process of its own. @returns What it prints, when that is JSON. */
async function torpor(...args: string[]): Promise<unknown> {
  const out = await runFile("../../cli/torpor.ts", args);
  return args.includes("--json") ? JSON.parse(out) : undefined;
}
