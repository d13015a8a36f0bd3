/** The hook that Node runs, in a thread of its own, for every module: node.ts registers it. @module */
import { readFile } from "node:fs/promises";
import type { LoadHook } from "node:module";
import { fileURLToPath } from "node:url";
import { instrument } from "../build/instrument.ts";
import { patchableName } from "./which.ts";

/** Gives Node the patchable form of a module. CommonJS is left alone. */
export const load: LoadHook = async (url, context, next) => {
  if (!url.startsWith("file:") || context.format === "commonjs") return await next(url, context);
  const path = fileURLToPath(url.replace(/[?#].*$/, ""));
  const name = patchableName(path);
  if (name === undefined) return await next(url, context);
  const { code } = instrument(name, await readFile(path, "utf8"));
  return { format: "module", source: code, shortCircuit: true };
};
