import { mkdirSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Host, MemoryStore, pipe, SleepyHost } from "../../../mod.ts";
import type { Service } from "../../../checkpoint/appliances/appliance.ts";
import type { LaunchEvent } from "../../../serve/launch/launched.ts";
import { Sandbox } from "../../../serve/launch/sandbox/sandbox.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { serviceOf } from "./services.ts";

/** Services of a tree on one host, a client beside it, and what is told of them. */
class World implements AsyncDisposable {
  readonly folder = new TemporaryFolder();
  readonly events: LaunchEvent[] = [];
  readonly host: Host;
  readonly client: Host;
  output = "";
  sandbox!: Sandbox;

  constructor(modules: Record<string, string>, store?: MemoryStore) {
    const [link, theirs] = pipe({ medium: "ip" });
    const addresses = [1, 2, 3, 4].map((last) => ({ address: `10.7.0.${last}/24` }));
    this.host = store === undefined
      ? new Host({ interfaces: [{ link }], addresses })
      : new SleepyHost({ interfaces: [{ link }], addresses, store, idleMs: 20 });
    this.client = new Host({ interfaces: [{ link: theirs }], addresses: [{ address: "10.7.0.99/24" }] });
    for (const [path, text] of Object.entries(modules)) {
      const file = this.folder.file(path);
      mkdirSync(file.slice(0, file.lastIndexOf("/")), { recursive: true });
      writeFileSync(file, text);
    }
  }

  launch(services: readonly Service[], graceMs = 2_000): Sandbox {
    return this.sandbox = new Sandbox({
      ...{ host: this.host, root: this.folder.file(""), services, graceMs },
      addresses: [1, 2, 3, 4].map((last) => `10.7.0.${last}/24`),
      onEvent: (event) => void this.events.push(event),
      onOutput: (text) => void (this.output += text),
    });
  }

  /** What a service answers to what is sent, once the other side has ended or so much has come. */
  async ask(hostname: string, port: number, text: string, until: string): Promise<string> {
    using conn = await this.client.connect({ hostname, port });
    await conn.write(new TextEncoder().encode(text));
    const decoder = new TextDecoder(), into = new Uint8Array(4_096);
    let got = "";
    for (let count: number | null; !got.includes(until) && (count = await conn.read(into)) !== null;) {
      got += decoder.decode(into.subarray(0, count), { stream: true });
    }
    return got;
  }

  get told(): string[] {
    return this.events.map(({ service, state }) => `${service} ${state}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox?.stop();
    if (this.host instanceof SleepyHost) await this.host.shutdown();
    else this.host.close();
    this.client.close();
    this.folder[Symbol.dispose]();
  }
}

const GET = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const WEB = `let asked = 0;
export default { fetch: () => { if (++asked === 2) throw new Error("the second"); return new Response("web " + asked); } };
`;
const ECHO = `export default { data: (connection, bytes) => void connection.write(bytes) };\n`;
const NODE = `import { createServer } from "node:http";
export default createServer((_request, response) => void response.end("from node:http"));
`;
const PROGRAM = `export async function main(Deno, { signal }) {
  if (Deno.args[0] === "leave") Deno.exit(7);
  const server = Deno.serve({ port: 80, onListen() {} }, () => new Response(Deno.env.get("GREETING") + " " + Deno.cwd()));
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
}
`;

test("services of several appliances run on one stack, each with its address, and all may have port 80", async () => {
  await using world = new World({ "srv/web.mjs": WEB, "srv/echo.mjs": ECHO, "app/main.mjs": PROGRAM });
  const program = { env: ["GREETING=a=b"], ports: ["80/tcp"], workingDir: "/app" };
  const sandbox = world.launch([
    serviceOf("web", ["node"], { cmd: ["/srv/web.mjs"], ports: ["80/tcp", "53/udp"] }),
    serviceOf("echo", ["bun", "run"], { cmd: ["/srv/echo.mjs"], ports: ["7/tcp", "80/tcp"] }),
    serviceOf("program", ["deno", "run"], { cmd: ["-A", "main.mjs"], ...program }),
    serviceOf("leaver", ["deno", "run"], { cmd: ["-A", "main.mjs", "leave"], ...program }),
  ]);
  await sandbox.start();
  expect(world.events).toContainEqual({
    ...{ service: "echo", state: "started", address: "10.7.0.2", ports: ["7/tcp", "80/tcp"] },
  });
  expect(world.events).toContainEqual({ service: "leaver", state: "exited", code: 7 });
  expect(await world.ask("10.7.0.1", 80, GET, "web 1")).toMatch(/^HTTP\/1.1 200[^]*web 1$/);
  expect(await world.ask("10.7.0.1", 80, GET, "Error")).toMatch(/^HTTP\/1.1 500/);
  expect(await world.ask("10.7.0.1", 80, GET, "web 3")).toMatch(/web 3$/); // a request failed, not the service
  expect(world.output).toContain("web: Error: the second");
  for (const port of [7, 80]) expect(await world.ask("10.7.0.2", port, "hello", "hello")).toBe("hello");
  expect(await world.ask("10.7.0.3", 80, GET, "app")).toContain(`a=b ${world.folder.file("app")}`);
  await expect(world.client.connect({ hostname: "10.7.0.4", port: 80 })).rejects.toThrow(/refused/);
  world.events.length = 0;
  await sandbox.stop();
  await sandbox.done;
  expect(world.told).toEqual(["program stopped", "echo stopped", "web stopped"]);
  await expect(world.client.connect({ hostname: "10.7.0.1", port: 80 })).rejects.toThrow(/refused/);
});

test("a service that fails is told of and the others go on; what nobody caught ends whose it is", async () => {
  await using world = new World({
    "a/good.mjs": ECHO,
    "b/bad.mjs": `throw new Error("at the door");\n`,
    "c/late.mjs":
      `export function main(Deno) { Deno.listen({ port: 80 }); return Promise.reject(new Error("inside")); }\n`,
    "d/leak.mjs":
      `export function main(Deno) { Deno.listen({ port: 9 }); globalThis.leaked = () => new Error("nobody caught it"); }\n`,
  });
  const sandbox = world.launch([
    serviceOf("good", ["/a/good.mjs"], { ports: ["80/tcp"] }),
    serviceOf("bad", ["/b/bad.mjs"]),
    serviceOf("late", ["/c/late.mjs"]),
    serviceOf("leak", ["/d/leak.mjs"]),
  ]);
  await sandbox.start();
  const failures = world.events.filter(({ state }) => state === "failed");
  expect(failures).toHaveLength(2);
  expect(failures).toContainEqual({ service: "bad", state: "failed", why: "at the door" });
  expect(failures).toContainEqual({ service: "late", state: "failed", why: "inside" });
  await expect(world.client.connect({ hostname: "10.7.0.3", port: 80 })).rejects.toThrow(/refused/);
  expect(sandbox.blame(new Error("our own"))).toBe(false);
  expect(sandbox.blame((globalThis as unknown as { leaked(): Error }).leaked())).toBe(true);
  expect(world.events.at(-1)).toEqual({ service: "leak", state: "failed", why: "nobody caught it" });
  expect(await world.ask("10.7.0.1", 80, "still here", "here")).toBe("still here");
});

test("a service may not listen for another, and what does not start a module is refused by name", async () => {
  await using world = new World({
    "x.mjs": `export function main(Deno) { Deno.listen({ port: 80, hostname: "10.7.0.2" }); }\n`,
    "y.mjs": `export const nothing = 1;\n`,
  });
  const sandbox = world.launch([
    ...[serviceOf("thief", ["/x.mjs"]), serviceOf("empty", ["/y.mjs"])],
    ...[serviceOf("nginx", ["nginx"]), serviceOf("lost", ["/z.mjs"])],
  ]);
  await sandbox.start();
  await sandbox.done; // none is left
  const why = Object.fromEntries(
    world.events.map((event) => [event.service, "why" in event ? event.why : ""]),
  );
  expect(why["thief"]).toContain('this service has "10.7.0.1"');
  expect(why["empty"]).toContain('exports neither "main" nor a default');
  expect(why["nginx"]).toContain('"nginx" starts no module');
  expect(why["lost"]).toContain("z.mjs");
});

test("connections of launched services sleep on their one host, and wake for whose they are", async () => {
  await using world = new World({ "e.mjs": ECHO, "w.mjs": WEB, "n.mjs": NODE }, new MemoryStore());
  const sandbox = world.launch([
    serviceOf("echo", ["/e.mjs"], { ports: ["80/tcp"] }),
    serviceOf("web", ["/w.mjs"], { ports: ["80/tcp"] }),
    serviceOf("node", ["/n.mjs"], { ports: ["80/tcp"] }),
  ]);
  await sandbox.start();
  expect(await world.ask("10.7.0.3", 80, GET, "node:http")).toContain("from node:http");
  const [echo, web] = await Promise.all(
    ["10.7.0.1", "10.7.0.2"].map((hostname) => world.client.connect({ hostname, port: 80 })),
  );
  const into = new Uint8Array(1_000);
  const say = async (conn: typeof echo, text: string): Promise<string> => {
    await conn!.write(new TextEncoder().encode(text));
    return new TextDecoder().decode(into.subarray(0, (await conn!.read(into))!));
  };
  expect(await say(echo, "one")).toBe("one");
  const host = world.host as SleepyHost;
  while (host.counts.asleep < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await say(echo, "two")).toBe("two");
  expect(await say(web, GET)).toContain("web 1");
  echo!.close();
  web!.close();
});
