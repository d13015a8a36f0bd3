import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pack } from "../../packaging/pack.ts";
import { CHROMIUM, withChromium } from "../support/chromium.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { RUN_ON } from "../support/runtimes.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What somebody has who has just begun: an empty folder in which the package is installed. */
const project = new TemporaryFolder();
afterAll(() => project[Symbol.dispose]());

beforeAll(async () => {
  writeFileSync(project.file("package.json"), JSON.stringify({ name: "newcomer", type: "module" }));
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", pack()]);
  writeFileSync(project.file("main.js"), firstExample());
}, 180_000);

async function run(program: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, NO_COLOR: "1" };
  return (await promisify(execFile)(program, args, { cwd: project.path, env })).stdout;
}

/** The first program of the README: nobody reads further before something runs. */
function firstExample(): string {
  return /^```[jt]s\n(.*?)^```$/ms.exec(readFileSync(`${ROOT}/README.md`, "utf8"))![1]!;
}

const RUNTIMES = { node: [RUN_ON.node[0]!], deno: RUN_ON.deno, bun: RUN_ON.bun };

test.concurrent.each(Object.keys(RUNTIMES) as (keyof typeof RUNTIMES)[])(
  "README's first example, pasted into an empty project, shows a connection asleep and awake on %s",
  async (runtime) => {
    const [program, ...args] = RUNTIMES[runtime];
    const id = /^(10\.7\.0\.1:7-10\.7\.0\.2:\d+) sleeps in \d+ bytes$/;
    const lines = (await run(program!, [...args, "main.js"])).trim().split("\n");
    expect(lines[0]).toBe("echo: hello");
    const name = id.exec(lines[1]!)?.[1];
    expect(name, lines.join("\n")).toBeDefined();
    expect(lines.slice(2, 4)).toEqual([`${name} is awake`, "echo: are you still there?"]);
    expect(lines[4]).toMatch(id);
  },
);

test.concurrent("what is installed is small, and nothing native is asked for", async () => {
  const manifest = JSON.parse(readFileSync(project.file("node_modules/@torpor/torpor/package.json"), "utf8"));
  expect(Object.keys(manifest.dependencies)).toEqual([
    "@bokuweb/zstd-wasm",
    "@deno/shim-deno",
    "cbor-x",
    "dns-packet",
    "eventemitter3",
    "fzstd",
    "xxhash-wasm",
  ]);
  const asks =
    `import { openTun } from "@torpor/torpor"; await openTun({ name: "tor0" }).catch((error) => console.log(error.message));`;
  expect(await run(RUNTIMES.node[0]!, ["--input-type=module", "-e", asks])).toContain("npm install koffi");
});

test.concurrent("the dashboard has its page", async () => {
  const looks = `import { MemoryStore, pipe, SleepyHost } from "@torpor/torpor";
import { serveDashboard } from "@torpor/torpor/serve/dashboard/dashboard.ts";
const host = new SleepyHost({ interfaces: [{ link: pipe()[0] }], store: new MemoryStore() });
const dashboard = await serveDashboard(host);
for (const path of ["", "page.js", "page.css"]) console.log((await fetch(dashboard.url + path)).status);
await dashboard.close();
host.close();`;
  expect(await run(RUNTIMES.node[0]!, ["--input-type=module", "-e", looks])).toBe("200\n200\n200\n");
});

test.concurrent("the command line is there", async () => {
  expect(await run("npm", ["exec", "--", "torpor", "--help"])).toContain("torpor COMMAND");
});

test.concurrent.each(["nodenext", "bundler"])(
  "its types are whole for TypeScript with moduleResolution %s",
  async (resolution) => {
    writeFileSync(
      project.file(`${resolution}.ts`),
      `import { type Connection, SleepyHost, StackSocket } from "@torpor/torpor";
import { Prng } from "@torpor/torpor/base/random.ts";
import { pipe } from "@torpor/torpor/browser";
const counts: (host: SleepyHost) => { awake: number } = (host) => host.counts;
const name: (connection: Connection) => string = (connection) => connection.id;
// @ts-expect-error There is no such number: the types are not "any".
new Prng("seed");
export { counts, name, pipe, StackSocket };
`,
    );
    const compilerOptions = {
      ...{ target: "es2022", lib: ["ES2024", "ESNext.Disposable", "DOM"], strict: true, noEmit: true },
      module: resolution === "bundler" ? "esnext" : resolution,
      moduleResolution: resolution,
      types: ["node"],
      typeRoots: [`${ROOT}/node_modules/@types`],
    };
    writeFileSync(
      project.file(`${resolution}.json`),
      JSON.stringify({ compilerOptions, files: [`${resolution}.ts`] }),
    );
    try {
      await run(`${ROOT}/node_modules/.bin/tsc`, ["-p", `${resolution}.json`]);
    } catch (error) {
      throw new Error((error as { stdout: string }).stdout);
    }
  },
);

judge("the same example runs in a page of Chromium, bundled by esbuild", [CHROMIUM], async () => {
  const bundled = await build({
    ...{ entryPoints: [project.file("main.js")], absWorkingDir: project.path, bundle: true },
    ...{ format: "esm", platform: "browser", write: false, metafile: true, logLevel: "silent" },
  });
  const inputs = Object.values(bundled.metafile.inputs).flatMap(({ imports }) => imports);
  expect(inputs.filter(({ path }) => path.startsWith("node:"))).toEqual([]);
  const script = bundled.outputFiles![0]!.text;
  const lines = await withChromium({}, async (page) => {
    const said: string[] = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(`error: ${error.message}`));
    await page.setContent("<title>Torpor in a page</title>");
    await page.addScriptTag({ type: "module", content: script });
    for (let turn = 0; turn < 400 && said.length < 5; turn++) await page.waitForTimeout(50);
    return said;
  });
  expect(lines.length, lines.join("\n")).toBe(5);
  expect(lines[1]).toMatch(/sleeps in \d+ bytes$/);
  expect(lines[2]).toMatch(/is awake$/);
  expect(lines[3]).toBe("echo: are you still there?");
}, 60_000);
