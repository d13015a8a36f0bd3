import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { runtime } from "../../base/runtime.ts";
import { HELP, parseOptions } from "../../examples/survive_kill/options.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { RUN_ON } from "../support/runtimes.ts";

interface Ran {
  code: number | null;
  out: string;
  errors: string;
  /** What the example left in its temporary folder. */
  left: string[];
}

/** Where the examples put their files. One for all of them, so that tsx compiles everything only once. */
const folder = new TemporaryFolder();
afterAll(() => folder[Symbol.dispose]());

/** Runs an example on this runtime; `onLine` sees every line it prints. */
async function run(
  example: string,
  args: string[] = [],
  onLine: (line: string, pid: number) => void = () => {},
  on: keyof typeof RUN_ON = runtime,
): Promise<Ran> {
  const file = fileURLToPath(new URL(`../../examples/${example}`, import.meta.url));
  const [program, ...rest] = [...RUN_ON[on], file, ...args];
  const child = spawn(program!, rest, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TMPDIR: folder.path, NO_COLOR: "1" },
  });
  let [out, errors] = ["", ""];
  child.stderr.setEncoding("utf8").on("data", (text: string) => errors += text);
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const from = out.lastIndexOf("\n") + 1;
    out += text;
    for (const line of out.slice(from).split("\n").slice(0, -1)) onLine(line, child.pid!);
  });
  const [code] = await once(child, "close") as [number | null];
  return { code, out, errors, left: readdirSync(folder.path).filter((name) => name.startsWith("torpor-")) };
}

/** Connections that a test makes: enough for two batches of the sleeper. */
const CONNECTIONS = 300;

interface JsonResults {
  connections: number;
  broken: number;
  reasons: string[];
  bytesChecked: number;
  link: string;
  memory: Record<"empty" | "awake" | "asleep", { awake: number; asleep: number }>;
}

function checkSurvival({ code, out, errors, left }: Ran, link: string): void {
  expect(errors, "the account").toContain("Broken connections          0");
  const results = JSON.parse(out) as JsonResults;
  expect(results).toMatchObject({ connections: CONNECTIONS, broken: 0, reasons: [], link });
  // 300 and 200 and 300 messages of 1 to 2,000 bytes
  expect(results.bytesChecked).toBeGreaterThan(600_000);
  expect(results.memory.empty).toMatchObject({ awake: 0, asleep: 0 });
  expect(results.memory.awake).toMatchObject({ awake: CONNECTIONS, asleep: 0 });
  expect(results.memory.asleep).toMatchObject({ awake: 0, asleep: CONNECTIONS });
  expect({ code, left }).toEqual({ code: 0, left: [] });
}

test("survive_kill keeps every connection through kill -9 and leaves nothing behind", async () => {
  checkSurvival(await run("survive_kill.ts", ["--connections", `${CONNECTIONS}`, "--json"]), "unix");
}, 60_000);

judge("survive_kill keeps connections of the kernel through kill -9", ["root", "tun", "ip"], async () => {
  const namespaces = (): string[] =>
    readdirSync("/var/run/netns").filter((name) => /^torpor-kill-/.test(name));
  let pid = 0;
  checkSurvival(
    await run(
      "survive_kill.ts",
      ["--connections", `${CONNECTIONS}`, "--json", "--tun"],
      (_, its) => pid = its,
    ),
    "tun",
  );
  expect(pid).toBeGreaterThan(0);
  expect(namespaces()).not.toContain(`torpor-kill-${pid}`);
}, 60_000);

test("survive_kill notices one damaged image: exit code 1, and one broken connection", async () => {
  const { code, out, left } = await run("survive_kill.ts", ["--connections", `${CONNECTIONS}`, "--canary"]);
  expect(out).toMatch(/found in the store: 299 connections, expected 300/);
  expect(out).toMatch(/Broken connections +1\n/);
  expect(out).toMatch(/connection \d+: .*reset/);
  expect({ code, left }).toEqual({ code: 1, left: [] });
}, 60_000);

test("survive_kill ends its processes and deletes its files on SIGINT", async () => {
  let serverPid = 0;
  const { code, left } = await run("survive_kill.ts", ["--connections", "5000"], (line, pid) => {
    serverPid ||= Number(/server is process (\d+)/.exec(line)?.[1] ?? 0);
    if (line.includes("Open the connections")) process.kill(pid, "SIGINT");
  });
  expect({ code, left }).toEqual({ code: 130, left: [] });
  expect(serverPid).toBeGreaterThan(0);
  expect(() => process.kill(serverPid, 0)).toThrow(/ESRCH/);
}, 60_000);

interface DeployResults {
  link: string;
  deploys: { recovered: number }[];
  requests: number;
  bytesChecked: number;
  failed: string[];
}

function checkDeploys({ code, out, errors, left }: Ran, link: string): void {
  expect(errors, "the account").toContain("Failed or reset      0");
  const results = JSON.parse(out) as DeployResults;
  expect(results).toMatchObject({ link, failed: [] });
  expect(results.deploys.length).toBe(2);
  for (const { recovered } of results.deploys) expect(recovered).toBeGreaterThanOrEqual(30);
  expect(results.requests).toBeGreaterThan(30);
  expect({ code, left }).toEqual({ code: 0, left: [] });
}

const DEPLOY = ["--connections", "30", "--deploys", "2", "--seconds", "0.5", "--json"];

test("deploy replaces a server under load, and no request fails", async () => {
  checkDeploys(await run("deploy.ts", DEPLOY), "unix");
}, 120_000);

judge("deploy replaces a server under load of the kernel's clients", ["root", "tun", "ip"], async () => {
  checkDeploys(await run("deploy.ts", [...DEPLOY, "--tun"]), "tun");
}, 120_000);

// The other examples run on the runtime of the tests; how a module becomes patchable differs between the three.
test.each(["node", "deno", "bun"] as const)(
  "live_patch patches a chat of 1,000 connections under load on %s, through kill -9 and back, and nothing fails",
  async (on) => {
    const ran = await run("live_patch.ts", ["--json", "--talking", "50", "--seconds", "0.1"], () => {}, on);
    expect({ code: ran.code, left: ran.left }, ran.errors).toEqual({ code: 0, left: [] });
    const results = JSON.parse(ran.out) as { connections: number; answers: Record<"old" | "new", number> };
    expect(results).toMatchObject({
      connections: 1_000,
      failed: [],
      restored: [{ name: "fix", became: "applied" }],
    });
    expect(results.answers.old).toBeGreaterThanOrEqual(2_000);
    expect(results.answers.new).toBeGreaterThanOrEqual(1_950);
  },
  120_000,
);

test("survive_kill refuses a command line that it does not understand", async () => {
  const { code, out, errors } = await run("survive_kill.ts", ["--connections", "0"]);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(errors).toContain("--connections 0: need a whole number from 1 to 1000000");
  expect(errors).toContain(HELP);
}, 60_000);

test("parseOptions() takes numbers up to their limits", () => {
  expect(parseOptions([])).toMatchObject({ connections: 10_000, seed: 1, tun: false, help: false });
  expect(parseOptions(["--help", "--tun"])).toMatchObject({ help: true, tun: true });
  expect(parseOptions(["--connections", "1", "--seed", "0"])).toMatchObject({ connections: 1, seed: 0 });
  expect(parseOptions(["--connections", "1000000", "--seed", "65535"])).toMatchObject({
    connections: 1_000_000,
    seed: 65_535,
  });
  for (
    const [name, texts] of [["connections", ["0", "1000001", "1.5", "x", ""]], ["seed", [
      "65536",
      "x",
    ]]] as const
  ) {
    for (const text of texts) {
      expect(() => parseOptions([`--${name}`, text]), text).toThrow(`--${name} ${text}`);
    }
  }
  for (const args of [["--nonsense"], ["12"]]) expect(() => parseOptions(args), args[0]!).toThrow(args[0]!);
});

for (const example of ["web_chat.ts", "mqtt_broker.ts"]) {
  test(
    `${example}: all clients sleep, a group is woken, pings wake nobody, kill -9 loses nobody`,
    async () => {
      const { code, out, errors, left } = await run(example, ["--clients", "200"]);
      expect({ code, errors, left }).toEqual({ code: 0, errors: "", left: [] });
      for (
        const line of [
          /^200 clients in 2 groups, all asleep: the server's process has \d+ MB$/m,
          /^One speaks: 100 are woken and hear it, the others sleep on$/m,
          /^200 pings are answered, and no handler is called$/m,
          /^kill -9, and a new process: it knows all 200 from their images after \d+ ms$/m,
          /^One speaks: 100 are woken and hear it$/m,
        ]
      ) expect(out).toMatch(line);
    },
    120_000,
  );
}

for (
  const [example, ...lines] of [
    ["echo_server.ts", "  4000000 bytes came back unchanged", "Echoed on 4 connections"],
    [
      "http_server.ts",
      "their SHA-256 is right",
      "on the same connection wakes it",
      "200 requests on 20 connections",
    ],
    [
      "sleeping_chat.ts",
      "1000 members are in 10 rooms, and all are asleep",
      'Two speak in "tea": 100 are woken and hear 6 lines in the same order, 900 sleep on',
      "1000 members are still there",
      'Two speak in "moss": 100 are woken and hear 6 lines in the same order, 900 sleep on',
    ],
  ] as const
) {
  test(`${example} does what it says`, async () => {
    const { code, out, errors, left } = await run(example);
    expect({ code, left, errors }).toEqual({ code: 0, left: [], errors: "" });
    for (const line of lines) expect(out).toContain(line);
  }, 60_000);
}

test("dashboard.ts serves its page while its clients talk, fall asleep and wake", async () => {
  let page: Promise<string> | undefined;
  const { code, out, errors } = await run(
    "dashboard.ts",
    ["--clients", "100", "--port", "0", "--seconds", "5"],
    (line) => {
      const url = /^Open (http:\S+)$/.exec(line)?.[1];
      if (url !== undefined) page = fetch(url).then((response) => response.text());
    },
  );
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  expect(await page).toContain("<title>Torpor</title>");
  expect(out).toMatch(/^[1-9]\d* of 100 asleep, \d+ wakes$/m);
}, 60_000);
