import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Runtime, runtime } from "../base/runtime.ts";

/**
 * A process of its own, on the same runtime, for what another case's leftovers would falsify: memory
 * above all. It answers in lines of JSON, on a line each for what it is asked on its standard input.
 */
export class Worker implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  /**
   * `file` lies beside this one; `v8Flags` are left out where there is no V8; `netns` is the network namespace
   * that it lives in, when it is not this process's; `on` is another runtime, of those that the repository installs.
   */
  constructor(
    file: string,
    args: readonly (string | number)[] = [],
    v8Flags: readonly string[] = [],
    netns?: string,
    on: Runtime = runtime,
  ) {
    const path = fileURLToPath(new URL(file, import.meta.url));
    const flags = ["--expose-gc", ...v8Flags];
    const own = on === runtime
      ? process.execArgv.filter((flag) => !flag.includes("-prof"))
      : ["--import", "tsx"];
    const command = on === "bun"
      ? ["run", path]
      : on === "deno"
      ? ["run", "-A", `--v8-flags=${flags.join(",")}`, path]
      : [...own, ...flags, path];
    const program = on === runtime
      ? process.execPath
      : on === "node"
      ? "node"
      : fileURLToPath(new URL(`../node_modules/.bin/${on}`, import.meta.url));
    const line = [program, ...command, ...args.map(String)];
    if (netns !== undefined) line.unshift("ip", "netns", "exec", netns);
    this.#child = spawn(line[0]!, line.slice(1), {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.on("error", () => {}); // there is no such program, or
    this.#child.stdin!.on("error", () => {}); // it has died: the missing answer says so
    this.#reader = createInterface({ input: this.#child.stdout! });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** The next line that it writes. */
  async answer<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`A worker has ended without an answer (exit code ${this.#child.exitCode})`);
    return JSON.parse(value) as T;
  }

  /** Says something that has no answer, or a later one. */
  tell(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /** Asks for the next line. */
  ask<T>(question = ""): Promise<T> {
    this.tell(question);
    return this.answer();
  }

  /** Ends it as `kill -9` does; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end();
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) {
      this.#child.kill();
      await once(this.#child, "exit");
    }
    this.#reader.close();
  }
}

/** For a worker: writes a line. */
export function tell(answer: unknown): void {
  console.log(JSON.stringify(answer));
}

/** What a worker has done, and the processor time that it has taken, the kernel's for it included. */
export interface Spent {
  readonly bytes: number;
  readonly cpuMs: number;
}

/** For a worker: what it has spent on so many bytes. */
export function spent(bytes: number): Spent {
  const { user, system } = process.cpuUsage();
  return { bytes, cpuMs: (user + system) / 1000 };
}

/** Bytes of this process, as the kernel and the engine count them. */
export interface Memory {
  readonly rss: number;
  /** Objects and array buffers in use. */
  readonly used: number;
}

const COLLECTIONS_MAX = 20;

/** For a worker: memory in use, when collecting garbage frees no more: buffers are freed some time after it. */
export async function memoryNow(): Promise<Memory> {
  let least = Infinity;
  let idle = 0;
  for (let round = 0; round < COLLECTIONS_MAX && idle < 3; round++) {
    collectGarbage();
    await setTimeout(30);
    const { used } = memory();
    idle = used < least * 0.99 ? 0 : idle + 1;
    least = Math.min(least, used);
  }
  return memory();
}

function memory(): Memory {
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, used: heapUsed + external };
}

function collectGarbage(): void {
  const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
  if (Bun !== undefined) Bun.gc(true);
  else gc?.();
}
