import { isAbsolute, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { compile } from "../../packaging/pack.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BUILT = "dist/bench";

/**
 * Makes a program of alone_worker.ts that has the stack of the npm package (packaging/fold.ts), in `dist/bench`: some
 * seconds of work.
 * @returns Its path, as `Worker` wants it.
 */
export async function packagedWorker(): Promise<string> {
  const built = join(ROOT, BUILT);
  compile(built);
  await build({
    entryPoints: [join(ROOT, "bench/packets/alone_worker.ts")],
    outfile: join(built, "alone_worker.js"),
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    logLevel: "warning",
    plugins: [{
      name: "package",
      setup: ({ onResolve }) =>
        onResolve({ filter: /^\.\.?\/.*\.ts$/ }, ({ path, resolveDir }) => {
          const name = relative(ROOT, resolve(resolveDir, path));
          const ours = !isAbsolute(name) && !/^(\.\.|bench|tests)\b/.test(name);
          return ours ? { path: join(built, name.replace(/\.ts$/, ".js")) } : undefined;
        }),
    }],
  });
  return `../${BUILT}/alone_worker.js`;
}
