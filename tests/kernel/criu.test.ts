import { execFileSync } from "node:child_process";
import { createInterface } from "node:readline";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { torpor } from "../cli/run.ts";

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const PYTHON = "/usr/bin/python3";

judge(
  "a connection of ours goes on as a socket of the kernel, restored from what we export, and its peer hears no reset",
  ["root", "tun", "ip", "crit", PYTHON],
  async () => {
    using folder = new TemporaryFolder();
    using netns = new NetworkNamespace();
    netns.run("ip", "tuntap", "add", "dev", "tor0", "mode", "tun");
    netns.configure("tor0", "10.7.0.2/24");
    const store = folder.file("store");
    const start = (command: string, args: string[]): { ask: (line: string) => void; heard: string[] } => {
      const child = netns.start(command, args);
      const heard: string[] = [];
      createInterface({ input: child.stdout! }).on("line", (line) => heard.push(line));
      return { ask: (line) => void child.stdin!.write(`${line}\n`), heard };
    };
    const until = async (what: string, done: () => boolean): Promise<void> => {
      for (const startedMs = Date.now(); !done();) {
        if (Date.now() - startedMs > 60_000) {
          throw new Error(`${what} has not come: ${JSON.stringify(peer?.heard)}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    let peer: ReturnType<typeof start> | undefined = undefined;
    const [node, ...rest] = RUN_ON.node;
    const server = start(node!, [
      ...rest,
      path("../../examples/deploy/server.ts"),
      ...["--folder", store, "--idle", "50", "--tun", "tor0"],
    ]);
    server.ask(JSON.stringify({ request: "start" }));
    await until("the server", () => server.heard.some((line) => line.includes("answer")));
    peer = start(PYTHON, [path("./criu_peer.py")]);
    const bytesHeard = (): string =>
      peer!.heard.filter((line) => line.startsWith("heard ")).map((line) => line.slice(6)).join("");
    peer.ask("hello");
    await until("an answer", () => bytesHeard().length === 2 * 5);
    expect((await torpor(["handover", store])).code).toBe(0);
    const connection = (await torpor(["store", "ls", store, "--json"])).out.trim();
    const { id } = JSON.parse(connection) as { id: string };
    expect((await torpor(["criu", "export", store, id, folder.file("images")])).code).toBe(0);
    const told = ["files.img", "tcp-stream-1.img"].map((name) => {
      const json = folder.file(`${name}.json`);
      writeFileSync(json, execFileSync("crit", ["decode", "-i", `${folder.file("images")}/${name}`]));
      return json;
    });
    peer.ask("nobody answers yet;");
    // First the socket, then its address: the other way round the kernel has a reset for what comes in between.
    const restored = start(PYTHON, [path("./criu_restore.py"), ...told]);
    await until("the socket", () => restored.heard.includes("restored"));
    netns.run("ip", "addr", "add", "10.7.0.1/32", "dev", "lo");
    peer.ask("and again");
    const all = "restored;" + "NOBODY ANSWERS YET;" + "AND AGAIN";
    await until("all that is said", () => bytesHeard().length === 2 * (5 + all.length));
    expect(Buffer.from(bytesHeard(), "hex").subarray(5).toString().split("").sort().join("")).toBe(
      all.split("").sort().join(""),
    );
    expect(peer.heard.filter((line) => !line.startsWith("heard ") && !line.startsWith("at "))).toEqual([]);
  },
  120_000,
);
