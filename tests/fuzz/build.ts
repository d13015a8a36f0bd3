import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";
import { instrument } from "./instrument.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "../..");
const COVERAGE = join(HERE, "coverage.ts");
/** Whose edges are counted: the library's, those of parsers among the tests, and the planted bug's. */
const INSTRUMENTED = [
  "base/",
  "net/",
  "checkpoint/",
  "patching/",
  "serve/",
  "cli/",
  "tests/packetdrill/",
  "tests/fuzz/planted/",
];

const instrumented: Plugin = {
  name: "instrument",
  setup: ({ onLoad }) => {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const name = relative(ROOT, path).split(sep).join("/");
      if (!INSTRUMENTED.some((area) => name.startsWith(area))) return undefined;
      return { contents: instrument(path, readFileSync(path, "utf8"), COVERAGE), loader: "ts" };
    });
  },
};

/** Programs made for one run; removed with `dispose`. */
export class Programs {
  readonly #folder: string;

  constructor() {
    const parent = join(ROOT, "node_modules/.cache"); // packages are found from there
    mkdirSync(parent, { recursive: true });
    this.#folder = mkdtempSync(join(parent, "torpor-fuzz-"));
  }

  /** The file of a program that fuzzes the target of tests/fuzz/targets/`file` named `name`, instrumented. */
  async make(file: string, name: string): Promise<string> {
    const outfile = join(this.#folder, `${name.replaceAll("/", "-")}.mjs`);
    await build({
      stdin: {
        contents: `import { targets } from "./${file}"; import { work } from "./worker.ts";
          work(targets.find((each) => each.name === ${JSON.stringify(name)}));`,
        resolveDir: HERE,
        loader: "ts",
      },
      absWorkingDir: ROOT,
      bundle: true,
      outfile,
      format: "esm",
      platform: "node",
      target: "node20",
      packages: "external",
      sourcemap: "inline",
      treeShaking: true,
      logLevel: "error",
      plugins: [instrumented],
    });
    return outfile;
  }

  dispose(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
