import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

type Json = Record<string, unknown>;
type Line = { progress: number } | { answer: Json } | { error: string };

const runtime = process.versions["bun"] ? "bun" : process.versions["deno"] ? "deno" : "node";

/** The runtime's name and version, as in "Node 20.20.2". */
export const runtimeName: string = {
  bun: `Bun ${process.versions["bun"]}`,
  deno: `Deno ${process.versions["deno"]}`,
  node: `Node ${process.versions.node}`,
}[runtime];

/**
 * How to run a file on the runtime that runs this one.
 * @param loaders A folder of this repository with a loader for each runtime, which runs before the file.
 */
function commandFor(file: string, loaders?: string): string[] {
  const loader = loaders && fileURLToPath(new URL(`../../${loaders}/${runtime}.ts`, import.meta.url));
  const before = loader === undefined ? [] : [runtime === "node" ? "--import" : "--preload", loader];
  if (runtime === "bun") return [process.execPath, "run", ...before, file];
  if (runtime === "deno") return [process.execPath, "run", "-A", ...before, file];
  return [process.execPath, ...process.execArgv, ...before, file];
}

/**
 * Runs a file to its end.
 * @returns What it has printed.
 * @throws {Error} With what it says, when its exit code is not 0.
 */
export async function runFile(file: string, args: readonly string[]): Promise<string> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const [program, ...rest] = [...commandFor(path), ...args];
  const child = spawn(program!, rest, { stdio: ["ignore", "pipe", "pipe"] });
  let [out, errors] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => out += text);
  child.stderr.setEncoding("utf8").on("data", (text: string) => errors += text);
  const [code] = await once(child, "close") as [number | null];
  if (code !== 0) throw new Error(`${args.join(" ")}: ${errors || out}`);
  return out;
}

/** A process of this example that is asked one thing at a time, in lines of JSON. */
export class Worker {
  readonly name: string;
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  #settle: { resolve: (answer: Json) => void; reject: (error: Error) => void } | undefined;
  #onProgress: (done: number) => void = () => {};
  #end: string | undefined;

  /** `wrap` stands before the command, as in `ip netns exec NAME`; it must become the command (exec). */
  constructor(
    name: string,
    file: string,
    args: readonly string[],
    wrap: readonly string[] = [],
    loaders?: string,
  ) {
    const path = fileURLToPath(new URL(file, import.meta.url));
    const [program, ...rest] = [...wrap, ...commandFor(path, loaders), ...args];
    this.name = name;
    this.child = spawn(program!, rest, { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.child.stdout! }).on("line", (line) => this.#line(JSON.parse(line) as Line));
    this.child.stdin!.on("error", () => {}); // it has died: `exit` says so
    this.ended = new Promise((resolve) => {
      const end = (why: string): void => {
        this.#end ??= why;
        this.#settle?.reject(new Error(this.#end));
        resolve();
      };
      this.child.once("error", (error) => end(`Cannot start the ${name} process: ${error.message}`));
      this.child.once("exit", (code, signal) => end(`The ${name} process has ended: ${signal ?? code}`));
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  ask(request: string, args: Json = {}, onProgress: (done: number) => void = () => {}): Promise<Json> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(new Error(this.#end));
      this.#settle = { resolve, reject };
      this.#onProgress = onProgress;
      this.child.stdin!.write(`${JSON.stringify({ request, ...args })}\n`);
    });
  }

  /** kill -9: no handler runs, nothing is flushed, nothing is said. */
  async kill(): Promise<void> {
    if (this.#end === undefined) this.child.kill("SIGKILL");
    await this.ended;
  }

  #line(line: Line): void {
    if ("progress" in line) return this.#onProgress(line.progress);
    const settle = this.#settle;
    this.#settle = undefined;
    if ("answer" in line) settle?.resolve(line.answer);
    else settle?.reject(new Error(`${this.name}: ${line.error}`));
  }
}

/** What a worker can be asked. */
export type Requests = Record<
  string,
  (args: Json, progress: (done: number) => void) => Json | Promise<Json>
>;

/** How often a worker tells how far it is. */
const PROGRESS_MS = 50;

/** The worker's side: answers until the coordinator goes away. */
export function answerRequests(requests: Requests): void {
  const say = (line: Line): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (line) => {
    const { request, ...args } = JSON.parse(line) as { request: string };
    let nextMs = 0;
    const progress = (done: number): void => {
      if (performance.now() < nextMs) return;
      nextMs = performance.now() + PROGRESS_MS;
      say({ progress: done });
    };
    try {
      say({ answer: await requests[request]!(args, progress) });
    } catch (error) {
      say({ error: error instanceof Error ? error.message : String(error) });
    }
  });
  lines.on("close", () => process.exit(0));
  process.on("SIGINT", () => {}); // Ctrl-C goes to the coordinator, and it ends us
}
