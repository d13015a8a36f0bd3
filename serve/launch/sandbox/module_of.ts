import type { Service } from "../../../checkpoint/appliances/appliance.ts";
import { LaunchError } from "../launched.ts";

/** The module that a command line starts. */
export interface ModuleStart {
  /** Its path in the tree. */
  readonly path: string;
  readonly args: readonly string[];
}

/** What runs modules, and its options that take the word behind them. Of what else begins with "-" each is one word. */
const RUNTIMES: Readonly<Record<string, readonly string[]>> = {
  node: ["-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"],
  deno: ["-c", "--config", "--import-map", "--lock", "--cert", "--port", "--host", "--location", "-L"],
  bun: ["-r", "--preload", "--config", "--cwd"],
  tsx: ["--tsconfig"],
};

/** Words between a runtime and the module. */
const VERBS: ReadonlySet<string> = new Set(["run", "serve"]);

const MODULE = /\.[cm]?[jt]sx?$/;

/**
 * Which module an image's command line starts: `node server.js`, `deno run -A main.ts`, `bun run app.ts`, `tsx x.ts`, or
 * the module itself. What the runtime is told besides does not matter: the module runs in ours.
 *
 * @throws {LaunchError} When it starts something else, which only a container can.
 */
export function moduleOf(service: Pick<Service, "name" | "entrypoint" | "cmd" | "workingDir">): ModuleStart {
  const words = [...service.entrypoint, ...service.cmd];
  const first = words[0] ?? "";
  const options = RUNTIMES[first.slice(first.lastIndexOf("/") + 1)];
  let at = 0;
  if (options !== undefined) {
    at = 1;
    if (VERBS.has(words[at] ?? "")) at++;
    while (words[at]?.startsWith("-")) at += options.includes(words[at]!) ? 2 : 1;
  }
  const module = words[at];
  if (module === undefined || !MODULE.test(module)) {
    throw new LaunchError(
      `"${words.join(" ")}" starts no module of JavaScript or TypeScript; a container runs other programs`,
    );
  }
  const path = module.startsWith("/") ? module : `${service.workingDir || "/"}/${module}`;
  return { path, args: words.slice(at + 1) };
}
