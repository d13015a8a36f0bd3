import { type ChildProcess, spawn } from "node:child_process";
import { createServer, type Server } from "node:net";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { PermissionBroker, readQuestion } from "../../cli/firewall/broker.ts";
import { ProgramRules } from "../../cli/firewall/program_rules.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";

const temporary = new TemporaryFolder();
afterAll(() => temporary[Symbol.dispose]());
const DENO = fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url));

const RULES = readTextRules(`table inet egress {
  set api { type ipv4_addr; flags timeout; comment "dns-names: api.example.com *.example.org"; }
  chain output {
    type filter hook output priority filter; policy drop;
    ip daddr @api tcp dport 443 accept
    ip daddr 10.0.0.0/8 tcp dport { 80, 443 } accept
    udp dport 53 accept
    ip daddr 127.0.0.1 tcp dport 20000-65000 accept
    tcp dport 9 drop comment "nobody discards"
  }
  chain input {
    type filter hook input priority filter; policy drop;
    tcp dport { 0, 8000 } accept
  }
}`);
const NAMES: Record<string, string[]> = {
  "api.example.com": ["192.0.2.7"],
  "www.example.org": ["192.0.2.8", "10.1.1.1"],
  "evil.example.net": ["10.0.0.1", "203.0.113.5"],
};
let nowMs = 1_000_000;

function rules(): ProgramRules {
  return new ProgramRules(RULES, (name) => {
    const found = NAMES[name];
    return found === undefined ? Promise.reject(new Error("no such name")) : Promise.resolve(found);
  }, () => nowMs);
}

test("a question is of the version that is known, and whole", () => {
  const asked = { id: 1, pid: 2, permission: "net", value: "a:1" };
  expect(readQuestion(JSON.stringify({ v: 1, ...asked, more: 1 }))).toEqual(asked);
  expect(readQuestion('{"v":1,"id":1,"pid":2,"permission":"net"}')).toEqual({ ...asked, value: null });
  for (const line of ["", "null", "[]", "7", '{"v":2,"id":1,"pid":2,"permission":"net","value":null}']) {
    expect(() => readQuestion(line), line).toThrow(TypeError);
  }
  for (const wrong of [{ id: "1" }, { pid: null }, { permission: 1 }, { value: 7 }]) {
    expect(() => readQuestion(JSON.stringify({ v: 1, ...asked, ...wrong }))).toThrow("not of version 1");
  }
});

test("what a program may use is what the first packet might do: by address, by name, by either protocol", async () => {
  const program = rules();
  const ask = async (target: string): Promise<[boolean, string]> => {
    const { allowed, reason } = await program.ask(target);
    return [allowed, reason];
  };
  expect(await ask("10.2.3.4:443")).toEqual([true, expect.stringContaining("rule 2 (line 6)")]);
  expect(await ask("10.2.3.4:22")).toEqual([false, "inet egress output policy: policy drop"]);
  expect(await ask("198.51.100.1:53")).toEqual([true, expect.stringContaining("udp dport 53 accept")]);
  expect(await ask("[2001:db8::1]:443")).toEqual([false, expect.stringContaining("policy drop")]);
  expect(await ask("198.51.100.1:9")).toEqual([
    false,
    'inet egress output rule 5 (line 9): tcp dport 9 drop comment "nobody discards"',
  ]);
  // A name fills its sets; until then, and when its answer has ended, its address is nobody's.
  expect(await ask("192.0.2.7:443")).toEqual([false, expect.stringContaining("policy drop")]);
  expect(await ask("api.example.com:443")).toEqual([true, expect.stringContaining("@api")]);
  expect(await ask("192.0.2.7:443")).toEqual([true, expect.stringContaining("@api")]);
  expect(await ask("api.example.com:80")).toEqual([
    false,
    expect.stringMatching(/api\.example\.com is 192\.0\.2\.7/),
  ]);
  nowMs += 50_000;
  expect(await ask("www.example.org:443")).toEqual([true, expect.any(String)]);
  nowMs += 11_000;
  expect(await ask("192.0.2.7:443")).toEqual([false, expect.stringContaining("policy drop")]);
  // One address of a name that is not let out is enough: the program may connect to that one.
  expect(await ask("evil.example.net:443")).toEqual([false, expect.stringMatching(/is 203\.0\.113\.5/)]);
  expect(await ask("nowhere.example:443")).toEqual([false, expect.stringContaining("cannot be resolved")]);
  // Listening is for input rules.
  expect(await ask("0.0.0.0:8000")).toEqual([true, expect.stringContaining("input rule 1")]);
  expect(await ask("[::]:8001")).toEqual([false, expect.stringContaining("input policy")]);
  expect(await ask("127.0.0.1:0")).toEqual([true, expect.any(String)]);
  for (const odd of ["", "a b:1:2", "x:99999", "[::1"]) expect((await ask(odd))[0], odd).toBe(false);
});

function run(
  command: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; out: string }> {
  return new Promise((resolve) => {
    const child: ChildProcess = spawn(command, args, { env: { ...process.env, NO_COLOR: "1", ...env } });
    let out = "";
    child.stdout!.on("data", (text) => out += text);
    child.stderr!.on("data", (text) => out += text);
    child.once("close", (code) => resolve({ code, out }));
  });
}

judge("a Deno program's refused connect, fetch and listen show the rule's text", [DENO], async () => {
  const server: Server = createServer((socket) => void socket.on("error", () => {}).end("hi"));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const folder = temporary.file("deno");
  mkdirSync(folder);
  const program = join(folder, "program.ts");
  writeFileSync(
    program,
    `const tell = async (what, run) => {
      try { await run(); console.log(what, "ok"); } catch (error) { console.log(what, error.name + ":", error.message); }
    };
    await tell("connect", async () => (await Deno.connect({ hostname: "127.0.0.1", port: ${port} })).close());
    await tell("discard", () => Deno.connect({ hostname: "127.0.0.1", port: 9 }));
    await tell("name", () => Deno.connect({ hostname: "evil.example.net", port: 443 }));
    await tell("fetch", () => fetch("http://198.51.100.9:8080/"));
    await tell("listen", () => Deno.listen({ port: 8001 }));
    await tell("env", () => Deno.env.get("HOME"));
    await tell("read", () => Deno.readTextFileSync("/etc/hostname"));
    `,
  );
  const path = join(folder, "broker.sock");
  const decisions: string[] = [];
  const grants = new Map([["read", new Set(["/etc/hostname"])]]);
  const broker = new PermissionBroker(rules(), grants, ({ allowed, permission, value }) => {
    decisions.push(`${allowed} ${permission} ${value}`);
  });
  await broker.listen(path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  try {
    const { out } = await run(DENO, ["run", "--no-prompt", program], {
      DENO_PERMISSION_BROKER_PATH: path,
      DENO_DIR: folder,
    });
    expect(out).toContain("connect ok");
    expect(out).toContain(
      'discard NotCapable: net access to "127.0.0.1:9" is refused: inet egress output rule 5 (line 9): tcp dport 9 drop comment "nobody discards"',
    );
    expect(out).toContain(
      'name NotCapable: net access to "evil.example.net:443" is refused: inet egress output policy: policy drop ' +
        "(evil.example.net is 203.0.113.5)",
    );
    expect(out).toContain(
      'fetch NotCapable: net access to "198.51.100.9:8080" is refused: inet egress output policy: policy drop',
    );
    expect(out).toContain(
      'listen NotCapable: net access to "0.0.0.0:8001" is refused: inet egress input policy: policy drop',
    );
    expect(out).toContain(
      'env NotCapable: env access to "HOME" is refused: the broker was not started with --allow env',
    );
    expect(out).toContain("read ok");
    expect(decisions).toContain("false net 127.0.0.1:9");
  } finally {
    await broker.close(path);
    server.close();
  }
});
