/**
 * Makes a program's modules patchable as Deno loads them:
 *
 *     deno run --preload @torpor/torpor/patching/load/deno.ts server.ts
 *
 * Which modules, says `TORPOR_PATCHABLE`.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import * as nodeModule from "node:module";
import { fileURLToPath } from "node:url";
import { instrument } from "../build/instrument.ts";
import { patchableName } from "./which.ts";

interface Loaded {
  readonly format: string;
  readonly source: string;
  readonly shortCircuit: boolean;
}
type Load = (url: string, context: unknown, next: (url: string, context: unknown) => Loaded) => Loaded;

const { registerHooks } = nodeModule as unknown as { registerHooks(hooks: { load: Load }): void };
registerHooks({
  load(url, context, next) {
    const path = url.startsWith("file:") ? fileURLToPath(url.replace(/[?#].*$/, "")) : "";
    const name = patchableName(path);
    if (name === undefined) return next(url, context);
    return {
      format: "module",
      source: instrument(name, readFileSync(path, "utf8")).code,
      shortCircuit: true,
    };
  },
});
