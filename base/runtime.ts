/**
 * Which JavaScript runtime this is, and Deno's API on all of them: Deno's own on Deno,
 * `@deno/shim-deno` on Node and Bun. The shim has no `Command`, `dlopen`, `serve` or `listenDatagram`.
 */
import type { Deno as Shim } from "@deno/shim-deno";

/** The runtimes Torpor runs on. */
export type Runtime = "deno" | "node" | "bun";

/** The part of Deno's API that Torpor uses; all of it works on every runtime. */
export type DenoApi = Pick<
  typeof Shim,
  | "FsFile"
  | "addSignalListener"
  | "args"
  | "build"
  | "env"
  | "errors"
  | "execPath"
  | "exit"
  | "lstat"
  | "makeTempDir"
  | "memoryUsage"
  | "mkdir"
  | "open"
  | "openSync"
  | "pid"
  | "readDir"
  | "readFile"
  | "readFileSync"
  | "readTextFile"
  | "remove"
  | "removeSignalListener"
  | "rename"
  | "stat"
  | "stderr"
  | "stdin"
  | "stdout"
  | "truncate"
  | "writeFile"
  | "writeTextFile"
>;

const globals = globalThis as unknown as { Deno?: DenoApi; Bun?: unknown };

/** The runtime this program runs on. */
export const runtime: Runtime = globals.Bun !== undefined
  ? "bun"
  : globals.Deno !== undefined
  ? "deno"
  : "node";

/**
 * Deno's API, whatever the runtime.
 *
 * @example
 * ```ts
 * import { deno, runtime } from "@torpor/torpor/base/runtime.ts";
 * console.log(runtime, deno.pid, deno.memoryUsage().rss);
 * ```
 */
export const deno: DenoApi = runtime === "deno" ? globals.Deno! : (await import("@deno/shim-deno")).Deno;
