import { join } from "node:path";
import { fileURLToPath } from "node:url";
import process from "node:process";
import { runtime } from "../../base/runtime.ts";
import { whichProgram } from "./judge.ts";

const binaries = fileURLToPath(new URL("../../node_modules/.bin", import.meta.url));

/** How to run a TypeScript file of ours unbuilt on each runtime: the program, then its arguments. */
export const RUN_ON: Record<"node" | "deno" | "bun", string[]> = {
  node: [runtime === "node" ? process.execPath : whichProgram("node") ?? "node", "--import", "tsx"],
  deno: [join(binaries, "deno"), "run", "-A"],
  bun: [join(binaries, "bun"), "run"],
};
