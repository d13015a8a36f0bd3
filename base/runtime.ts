/** The runtimes Torpor runs on. (In a page, nothing asks: see browser.ts.) */
export type Runtime = "deno" | "node" | "bun";

const globals = globalThis as unknown as { Deno?: unknown; Bun?: unknown };

/**
 * The runtime this program runs on.
 *
 * @example
 * ```ts
 * import { runtime } from "@torpor/torpor/base/runtime.ts";
 * console.log(runtime); // "deno", for example
 * ```
 */
export const runtime: Runtime = globals.Bun !== undefined
  ? "bun"
  : globals.Deno !== undefined
  ? "deno"
  : "node";
