/**
 * Makes a program's modules patchable as Bun loads them:
 *
 *     bun --preload @torpor/torpor/patching/load/bun.ts server.ts
 *
 * Which modules, says `TORPOR_PATCHABLE`.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { instrument } from "../build/instrument.ts";
import { patchableName } from "./which.ts";

interface Loading {
  readonly path: string;
}
interface Build {
  onLoad(which: { filter: RegExp }, load: (loading: Loading) => { contents: string; loader: string }): void;
}
const { Bun } = globalThis as unknown as {
  Bun: { plugin(of: { name: string; setup(build: Build): void }): void };
};

Bun.plugin({
  name: "torpor-patchable",
  setup(build) {
    build.onLoad({ filter: /^(?!.*[\\/]node_modules[\\/]).*\.(?:js|mjs|ts|mts)$/ }, ({ path }) => {
      const name = patchableName(path);
      const source = readFileSync(path, "utf8");
      if (name === undefined) return { contents: source, loader: /ts$/.test(path) ? "ts" : "js" };
      return { contents: instrument(name, source).code, loader: "js" };
    });
  },
});
