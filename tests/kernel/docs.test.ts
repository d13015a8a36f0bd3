import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { COMMANDS } from "../../cli/main.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { SleepyHost } from "../../checkpoint/host.ts";
import { recordTo } from "../../checkpoint/replay/replay_file.ts";
import { SystemClock } from "../../base/clock.ts";
import { pipe } from "../../net/link/pipe.ts";
import { PcapngWriter, tap } from "../../net/link/pcap.ts";
import { Host } from "../../net/socket/host.ts";
import { livePatches } from "../../patching/apply/live_patches.ts";
import { offerPatches } from "../../patching/apply/patch_control.ts";
import { torpor } from "../cli/run.ts";
import { loadPatchable } from "../patching/target.ts";
import { serviceOf } from "../serve/launch/services.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGES = [
  ...["README.md", "CONTRIBUTING.md"],
  ...readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
];

interface Block {
  readonly page: string;
  readonly line: number;
  readonly language: string;
  readonly code: string;
}

/** Every block of code of every page, by the page and the line that it begins on. */
const BLOCKS: readonly Block[] = PAGES.flatMap((page) => {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/^```(\w+)[^\n]*\n(.*?)^```$/gms)].map(({ index, 1: language, 2: code }) => ({
    page,
    line: text.slice(0, index).split("\n").length + 1,
    language: language!,
    code: code!,
  }));
});

/** What stands before a block that is a part of a program. */
const HOST = `
import { FileStore, MemoryStore, METRICS_TYPE, metricsText, pipe, SleepyHost } from "@torpor/torpor";
const [link] = pipe();
const host = new SleepyHost({ interfaces: [{ link }], addresses: [{ address: "10.7.0.1/24" }], store: new MemoryStore() });
`;
const CONNECTED = `${HOST}
host.serve({ port: 5432, hostname: "10.7.0.1", data: (connection, bytes) => void connection.write(bytes) });
const connectHere = host.connect.bind(host);
host.connect = (options) => connectHere({ ...options, hostname: "10.7.0.1" });
`;
const BEFORE: readonly (readonly [begins: string, prelude: string])[] = [
  ["import { offerPatches", `const PUBLIC_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";\n`],
  [
    "import { instantiatePatchable",
    "const bytes = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0), imports = {};\n",
  ],
  ["host.serve({ port: 7, data, wake", `${HOST}const data = () => {};\n`],
  ["Deno.serve(", HOST],
  [
    "const control = await host.offerControl",
    `${HOST}import { mkdirSync } from "node:fs";
import tls from "node:tls";
mkdirSync("connections");
const tlsServer = tls.createServer();
`,
  ],
  ["host.serve({ port: 1883, durable: true, data(connection", CONNECTED],
  [
    "import { offerPatches, PatchFolder }",
    `import { makePatchKeys } from "@torpor/torpor/patching/image/sign.ts";
import { mkdirSync } from "node:fs";
mkdirSync("connections");
const PUBLIC_KEY = (await makePatchKeys()).publicKey;
`,
  ],
  [
    "import { instantiatePatchable }",
    "const bytes = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0), imports = {};\n",
  ],
  [
    "const count = await conn.read(buffer)",
    `${CONNECTED}
const conn = await host.connect({ port: 5432, durable: true });
const buffer = new Uint8Array(10), answer = Uint8Array.of(1), memory = { got: 0 };
await conn.write(answer);
`,
  ],
];

/** A block that never comes to its end, and what shows that it does what it says. */
const SERVES_ECHO = "for await (const conn of host.listen({ port: 7 }))";

/** Programs lie inside the package, which they name as everybody does. */
const programs = join(ROOT, "dist", `docs-${process.pid}`);
mkdirSync(programs, { recursive: true });
afterAll(() => rmSync(programs, { recursive: true, force: true }));

const END = "come to its end";

/** Writes a block as a program, or as the several whose names stand above their parts. @returns The first one. */
function programOf({ page, line, language, code }: Block): string {
  const folder = join(programs, `${page.replaceAll(/\W/g, "-")}-${line}`);
  mkdirSync(folder);
  const parts = code.split(/^\/\/ (\w+\.ts)$/m);
  if (parts.length > 1) {
    const imports = `import { FileStore, joinShards, openTun, Shards, SleepyHost } from "@torpor/torpor";\n`;
    for (let at = 1; at < parts.length; at += 2) {
      const end = at === 1 ? `\nconsole.log("${END}");\nawait shards.close();\n` : "";
      writeFileSync(join(folder, parts[at]!), imports + parts[at + 1]! + end);
    }
    return join(folder, parts[1]!);
  }
  const prelude = BEFORE.find(([begins]) => code.startsWith(begins))?.[1] ?? "";
  const file = join(folder, `main.${language}`);
  writeFileSync(file, `${prelude}${code}\nconsole.log("${END}");\n`);
  return file;
}

for (const block of BLOCKS.filter(({ language }) => language === "ts" || language === "js")) {
  const runtime = block.code.startsWith("Deno.") ? "deno" : "bun"; // which starts in no time
  judge(`the program at ${block.page}:${block.line} runs`, ["root", "tun", "ip", "nc"], async () => {
    using folder = new TemporaryFolder();
    symlinkSync(join(ROOT, "node_modules"), folder.file("node_modules"));
    using netns = new NetworkNamespace();
    const queues = block.code.includes("multiQueue") ? ["multi_queue"] : [];
    netns.run("ip", "tuntap", "add", "tor0", "mode", "tun", ...queues);
    netns.configure("tor0", "10.7.0.2/24");
    const command = [...RUN_ON[runtime], programOf(block)];
    const child = netns.start("sh", ["-c", 'cd "$0" && exec "$@" 2>&1', folder.path, ...command]);
    let said = "";
    child.stdout!.setEncoding("utf8").on("data", (text: string) => void (said += text));
    const until = async (holds: () => boolean): Promise<void> => {
      for (let turn = 0; turn < 1_500 && !holds() && child.exitCode === null; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect(holds(), said).toBe(true);
    };
    if (block.code.includes(SERVES_ECHO)) {
      let heard = "";
      const talk = async (): Promise<void> => {
        const client = netns.start("sh", ["-c", "exec nc -w 5 10.7.0.1 7 2>/dev/null"]);
        client.stdout!.on("data", (text) => void (heard += text));
        client.stdin!.on("error", () => {}).write("hello\n");
        for (let turn = 0; turn < 50 && heard === "" && client.exitCode === null; turn++) {
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        client.kill();
      };
      for (let attempt = 0; attempt < 60 && heard === ""; attempt++) {
        await talk();
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      expect(heard, said).toBe("hello\n");
    } else {
      await until(() => said.includes(END));
    }
    expect(said).not.toMatch(/\bat .*:\d+:\d+|Error:/); // a stack
  });
}

/** A command of a block, without its remark. */
function* linesOf(code: string): Generator<string> {
  for (const line of code.split("\n")) {
    const command = line.replace(/\s+#.*$/, "").trim();
    if (command !== "") yield command;
  }
}

const SHELL = BLOCKS.filter(({ language }) => language === "sh");
const CLI = /^(?:npx tsx cli\/torpor\.ts|torpor) (.*)$/;

test("every command in the pages is one: scripts, files, torpor's commands and their options are there", () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  for (const { page, line, code } of SHELL) {
    for (const command of linesOf(code)) {
      for (const part of command.split(" && ")) {
        const where = `${page}:${line}: ${part}`;
        const script = /^npm (?:run )?(?:--silent )?([\w:]+)/.exec(part)?.[1];
        if (script !== undefined && !["install", "init"].includes(script)) {
          expect(Object.keys(scripts), where).toContain(script);
          continue;
        }
        const ours = CLI.exec(part)?.[1];
        if (ours !== undefined) checkCommand(ours, where);
        else if (/^npx tsx /.test(part)) readFileSync(join(ROOT, part.split(" ")[2]!));
        else expect(part, where).toMatch(/^(npm|node main\.js|bash \.ci\/run|clang|wasm-ld)/);
      }
    }
  }
});

function checkCommand(line: string, where: string): void {
  const [name, sub] = line.split(" ");
  const command = COMMANDS.find((each) => each.name === name);
  expect(command, where).toBeDefined();
  const whole = command!.commands === undefined
    ? command
    : command!.commands.find((each) => each.name === sub);
  expect(whole, where).toBeDefined();
  for (const [option] of line.split(" -- ")[0]!.matchAll(/--[a-z-]+/g)) {
    expect(whole!.help, where).toContain(option);
  }
}

/** A folder as somebody has it who follows the pages: a store, a recording, a capture, a module. */
async function prepared(): Promise<{
  folder: TemporaryFolder;
  /** A command of the pages, about the connections that are here. */
  meant(command: string): string;
  live(patchable: boolean): Promise<SleepyHost>;
}> {
  const folder = new TemporaryFolder();
  const [left, right] = pipe({ medium: "ip" });
  const parts: Uint8Array[] = [];
  const captured = tap(left, new PcapngWriter((bytes) => parts.push(bytes)), new SystemClock());
  const make = async (link: typeof left, recorded: boolean): Promise<SleepyHost> => {
    const host = new SleepyHost({
      interfaces: [{ link }],
      addresses: [{ address: "10.7.0.1/8" }, { address: "10.0.0.1/8" }],
      store: await FileStore.open(folder.file("connections")),
      idleMs: 3_600_000,
      ...(recorded ? { recorder: recordTo(folder.file("run.replay")) } : {}),
    });
    for (const port of [80, 443, 6667]) {
      host.serve({ port, data: (connection, bytes) => void connection.write(bytes) });
    }
    return host;
  };
  const server = await make(captured, true);
  const client = new Host({ interfaces: [{ link: right }], addresses: [{ address: "10.9.0.4/8" }] });
  const ids = new Map<string, string>();
  for (const port of [80, 6667]) {
    const conn = await client.connect({ hostname: "10.7.0.1", port });
    ids.set(`10.7.0.1:${port}-10.9.0.4:51312`, `10.7.0.1:${port}-10.9.0.4:${conn.localAddr.port}`);
    await conn.write(Uint8Array.of(1));
    await conn.read(new Uint8Array(1));
  }
  const other = await client.connect({ hostname: "10.0.0.1", port: 80 });
  await other.write(Uint8Array.of(1));
  await expect(client.connect({ hostname: "10.0.0.1", port: 81 })).rejects.toThrow("refused"); // a reset
  await new Promise((resolve) => setTimeout(resolve, 100)); // nobody owes an ACK any more
  await server.shutdown();
  client.close();
  for (const name of ["capture.pcap", "run.pcapng"]) writeFileSync(folder.file(name), Buffer.concat(parts));
  for (const [name, ...files] of APPLIANCES) {
    mkdirSync(folder.file(`${name}/etc`), { recursive: true });
    for (const file of ["etc/hostname", "etc/passwd", ...files]) {
      writeFileSync(folder.file(`${name}/${file}`), `${file}\n`.repeat(100));
    }
  }
  for (const name of ["nginx", "redis"]) {
    writeFileSync(folder.file(`${name}.json`), JSON.stringify([serviceOf(name, [`/usr/sbin/${name}`])]));
  }
  const chain = (hook: string): string =>
    `table inet t {\n chain c {\n  type filter hook ${hook} priority 0; policy drop;\n  tcp dport 22 accept\n }\n}\n`;
  writeFileSync(folder.file("router.nft"), chain("input"));
  writeFileSync(folder.file("egress.nft"), chain("output"));
  writeFileSync(folder.file("server.js"), "export default { fetch: () => new Response('hello') };\n");
  for (const [version, text] of [["v1", "text"], ["v2", "text.toUpperCase()"]] as const) {
    mkdirSync(folder.file(version));
    writeFileSync(
      folder.file(`${version}/rooms.ts`),
      `export function say(text: string) { return ${text}; }\n`,
    );
  }
  symlinkSync(join(ROOT, "node_modules"), folder.file("node_modules"));
  return {
    folder,
    meant(command) {
      for (const [named, here] of ids) command = command.replaceAll(named, here);
      return command;
    },
    async live(patchable) {
      const host = await make(pipe({ medium: "ip" })[0], false);
      if (patchable) {
        loadPatchable(folder, "rooms.ts", readFileSync(folder.file("v1/rooms.ts"), "utf8"));
        offerPatches(livePatches);
      }
      await host.offerControl(folder.file("connections/control"));
      return host;
    },
  };
}

/** What those that are merged are beside their base. */
const APPLIANCES: readonly (readonly [name: string, ...files: string[]])[] = [
  ["debian"],
  ["nginx", "etc/nginx.conf"],
  ["redis", "etc/redis.conf"],
  ["nginx.oci", "etc/nginx.conf"],
  ["redis.oci", "etc/redis.conf"],
];

/**
 * What other tests do in its own world: a deploy (serve.test.ts), a program that is patched (tests/patching), clang, services
 * that are launched (launch.test.ts).
 */
const ELSEWHERE = /^(handover|patch (apply|rollback)|patch build --wasm|appliance launch) /;

/** The words of a command, as a shell takes them apart. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);
}

/** Commands that go on until somebody ends them, and what shows that they run. */
const GOES_ON: readonly RegExp[] = [/^top /, /^capture /, /^serve /, /^firewall broker /];

for (
  const { page, line, code } of SHELL.filter(({ code }) => [...linesOf(code)].some((each) => CLI.test(each)))
) {
  judge(
    `torpor's commands at ${page}:${line} do what they say, one after the other`,
    ["root", "tun", "ip"],
    async () => {
      const { folder, meant, live } = await prepared();
      using _folder = folder;
      using netns = new NetworkNamespace();
      const asks = /inspect|patch apply/.test(code);
      const host = asks ? await live(code.includes("patch apply")) : undefined;
      const before = process.cwd();
      process.chdir(folder.path);
      try {
        if (code.includes("redis.diff") && !code.includes("redis/ redis.diff")) {
          await torpor(["appliance", "diff", "debian/", "redis/", "redis.diff"]);
        }
        for (const command of linesOf(code)) {
          const ours = CLI.exec(command)?.[1];
          if (ours === undefined) continue; // somebody else's
          const args = meant(ours.split(/ [|>] (?=[^"]*$)/)[0]!);
          if (ELSEWHERE.test(args) || (asks && args.startsWith("serve"))) continue;
          if (!GOES_ON.some((each) => each.test(args))) {
            const { code: exit, out, err } = await torpor(wordsOf(args));
            expect(exit, `${command}\n${out}${err}`).toBe(0);
            continue;
          }
          const inside = ["netns", "exec", netns.name, "timeout", "-s", "INT", "2"];
          const child = spawn(
            "ip",
            [...inside, ...RUN_ON.bun, join(ROOT, "cli/torpor.ts"), ...wordsOf(args)],
            {
              env: { ...process.env, NO_COLOR: "1" },
              stdio: ["ignore", "pipe", "pipe"],
            },
          );
          let said = "";
          child.stdout.on("data", (text) => void (said += text));
          child.stderr.on("data", (text) => void (said += text));
          const [exit] = await once(child, "close") as [number];
          expect([0, 124], `${command}\n${said}`).toContain(exit); // 124: it was told to end
        }
      } finally {
        process.chdir(before);
        await host?.shutdown();
      }
    },
  );
}
