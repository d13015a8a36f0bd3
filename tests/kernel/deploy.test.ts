import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { torpor } from "../cli/run.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const CLI = join(ROOT, "cli/torpor.ts");
const CONNECTIONS = 20;

/** Programs as their frameworks' first pages have them. */
const PROGRAMS = {
  express: `import express from "express";
const app = express();
app.get("/", (request, response) => response.send("home"));
export default app;
`,
  hono: `import { Hono } from "hono";
const app = new Hono();
app.get("/", (context) => context.text("home"));
export default app;
`,
  chat: `import { createServer } from "node:http";
import { Server } from "socket.io";
const http = createServer((request, response) => response.end("the page"));
const io = new Server(http);
io.on("connection", (socket) => socket.on("chat message", (text) => io.emit("chat message", text)));
export default http;
`,
  broker: `import { Aedes } from "aedes";
export default await Aedes.createBroker();
`,
};

/** A client of the chat in the kernel's network: says what it reads, and prints what it hears. */
const CHATTER = `import { io } from "socket.io-client";
import { createInterface } from "node:readline";
const socket = io("http://10.7.0.1:8000", { transports: ["websocket"] });
socket.on("connect", () => console.log("connected"));
socket.on("disconnect", (why) => console.log("disconnected: " + why));
socket.on("chat message", (text) => console.log("heard " + text));
createInterface({ input: process.stdin }).on("line", (line) => socket.emit("chat message", line));
`;

/** A program of the namespace and what it says. */
class Heard {
  readonly child: ChildProcess;
  text = "";

  constructor(netns: NetworkNamespace, command: readonly string[]) {
    this.child = netns.start("sh", ["-c", 'exec "$@" 2>&1', "sh", ...command]);
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => void (this.text += text));
  }

  async until(what: string, times = 1): Promise<void> {
    for (let turn = 0; turn < 1_500 && this.text.split(what).length <= times; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(this.text).toContain(what);
  }

  /** Ends it; resolves when all that it said is here. */
  async ended(signal: NodeJS.Signals): Promise<void> {
    const closed = once(this.child, "close");
    this.child.kill(signal);
    await closed;
  }
}

/** A namespace in which a program is served over a TUN interface. */
function world(program: keyof typeof PROGRAMS, runtime: keyof typeof RUN_ON) {
  const folder = new TemporaryFolder();
  const netns = new NetworkNamespace();
  symlinkSync(join(ROOT, "node_modules"), folder.file("node_modules"));
  const module = folder.file(`${program}.mjs`);
  writeFileSync(module, PROGRAMS[program]);
  writeFileSync(folder.file("chatter.mjs"), CHATTER);
  netns.run("ip", "tuntap", "add", "tor0", "mode", "tun");
  netns.configure("tor0", "10.7.0.2/24");
  const store = folder.file("connections");
  return {
    store,
    netns,
    async serve(idle = "60"): Promise<Heard> {
      const serving = new Heard(netns, [
        ...RUN_ON[runtime],
        CLI,
        "serve",
        module,
        "--store",
        store,
        "--idle",
        idle,
      ]);
      await serving.until("torpor serve: serving");
      return serving;
    },
    run: (...command: string[]): Heard => new Heard(netns, command),
    chatter: (): Heard => new Heard(netns, [RUN_ON.node[0]!, folder.file("chatter.mjs")]),
    /** Load, until enough has been seen: a slow machine is no error. */
    async wrk(): Promise<Heard> {
      const options = ["-t1", `-c${CONNECTIONS}`, "-d120s", "--timeout", "60s"];
      const wrk = this.run("wrk", ...options, "http://10.7.0.1:8000/");
      for (let turn = 0; turn < 500 && this.ports().length < CONNECTIONS; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return wrk;
    },
    /** Each connection to the server by the port of its client. */
    ports: (): string[] =>
      netns.run("ss", "-tnH", "state", "established", "dst", "10.7.0.1").trim().split("\n")
        .map((line) => /:(\d+)\s+10\.7\.0\.1/.exec(line)?.[1] ?? "").sort(),
    [Symbol.dispose]() {
      netns[Symbol.dispose]();
      folder[Symbol.dispose]();
    },
  };
}

async function noErrors(wrk: Heard): Promise<void> {
  await wrk.ended("SIGINT");
  expect(wrk.text).toMatch(/\n {2}[1-9]\d* requests in /);
  expect(wrk.text).not.toMatch(/Socket errors|Non-2xx/);
}

const UNDER_WRK = [
  ["express", "node"],
  ["hono", "node"],
  ["express", "deno"],
  ["hono", "bun"],
] as const;

for (const [program, runtime] of UNDER_WRK) {
  judge(
    `${program} on ${runtime} is deployed under wrk's load: its ${CONNECTIONS} connections stay, and no request fails`,
    ["root", "tun", "ip", "wrk", "ss"],
    async () => {
      using here = world(program, runtime);
      const first = await here.serve();
      const wrk = await here.wrk();
      const before = here.ports();
      expect(before).toHaveLength(CONNECTIONS);
      const second = await here.serve();
      await first.until("another process has taken over");
      expect(second.text).toContain(`has let go of ${CONNECTIONS} connections`);
      await new Promise((resolve) => setTimeout(resolve, 700)); // the new process answers
      expect(here.ports()).toEqual(before);
      await noErrors(wrk);
      await second.ended("SIGINT");
    },
    90_000,
  );
}

judge(
  "a socket.io chat goes on through a deploy under wrk's load, and kill -9: its clients notice nothing, no request fails",
  ["root", "tun", "ip", "wrk", "ss"],
  async () => {
    using here = world("chat", "node");
    let serving = await here.serve("1");
    const chatters = [here.chatter(), here.chatter()];
    for (const each of chatters) await each.until("connected\n");
    for (const text of ["hello", "still there?", "and now?"]) {
      chatters[0]!.child.stdin!.write(`${text}\n`);
      for (const each of chatters) await each.until(`heard ${text}\n`);
      if (text === "hello") {
        const wrk = await here.wrk();
        const next = await here.serve("1");
        await serving.until("another process has taken over");
        serving = next;
        await new Promise((resolve) => setTimeout(resolve, 700));
        await noErrors(wrk);
      } else if (text === "still there?") {
        for (let turn = 0; turn < 500; turn++) {
          if ((await torpor(["ls", here.store, "--state", "asleep", "--count"])).out === "2\n") break;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        await serving.ended("SIGKILL");
        serving = await here.serve("1");
      }
    }
    for (const each of chatters) expect(each.text).not.toContain("disconnected");
    await serving.ended("SIGINT");
  },
  90_000,
);

judge(
  "aedes goes on through a deploy: mosquitto's client stays subscribed",
  ["root", "tun", "ip", "mosquitto_sub", "mosquitto_pub", "stdbuf"],
  async () => {
    using here = world("broker", "node");
    const first = await here.serve();
    const client = ["-h", "10.7.0.1", "-p", "8000"];
    const screen = here.run("stdbuf", "-oL", "mosquitto_sub", ...client, "-t", "hall/+", "-q", "1", "-d");
    await screen.until("Subscribed");
    const publish = (text: string): string =>
      here.netns.run("mosquitto_pub", ...client, "-t", "hall/light", "-q", "1", "-m", text);
    publish("on");
    await screen.until("\non\n");
    const [port] = here.ports();
    const second = await here.serve();
    await first.until("another process has taken over");
    publish("off");
    await screen.until("\noff\n");
    expect(here.ports()).toContain(port);
    expect(screen.text.split("sending CONNECT")).toHaveLength(2);
    await second.ended("SIGINT");
  },
  90_000,
);
