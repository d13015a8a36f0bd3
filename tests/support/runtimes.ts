import { realpathSync } from "node:fs";
import { basename, delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runtime } from "../../base/runtime.ts";

const binaries = fileURLToPath(new URL("../../node_modules/.bin", import.meta.url));

/** The true Node: `bun --bun` puts a folder in front of PATH in which "node" is Bun. */
function findNode(): string {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, "node");
    try {
      if (!basename(realpathSync(path)).startsWith("bun")) return path;
    } catch {
      // not here
    }
  }
  throw new Error("Cannot find node on PATH");
}

/** How to run a TypeScript file of ours unbuilt on each runtime: the program, then its arguments. */
export const RUN_ON: Record<"node" | "deno" | "bun", string[]> = {
  node: [findNode(), "--import", "tsx"],
  deno: [join(binaries, "deno"), "run", "-A"],
  bun: [join(binaries, "bun"), "run"],
};

/**
 * The runtimes that a test starts a program of its own on: each, when Node runs the tests; when Deno or Bun does, none,
 * because the program would do the same once more.
 */
export const EACH: readonly (keyof typeof RUN_ON)[] = runtime === "node" ? ["node", "deno", "bun"] : [];
