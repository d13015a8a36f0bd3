import { execFileSync } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { torpor } from "../cli/run.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { KERNEL_ADDRESS, KernelServer, STACK_ADDRESS } from "./kernel_server.ts";

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const PYTHON = "/usr/bin/python3";
const NEEDS = ["root", "tun", "ip", "crit", PYTHON];

/** A program in the namespace that is told lines, and whose lines are heard. */
class Talker {
  readonly heard: string[] = [];
  readonly say: (line: string) => void;

  constructor(netns: NetworkNamespace, command: string, args: string[]) {
    const child = netns.start(command, args);
    this.say = (line) => void child.stdin!.write(`${line}\n`);
    createInterface({ input: child.stdout! }).on("line", (line) => this.heard.push(line));
  }

  async until(what: string, done: (heard: readonly string[]) => boolean): Promise<void> {
    for (let turn = 0; !done(this.heard); turn++) {
      if (turn > 3_000) throw new Error(`Waited in vain for ${what}: ${JSON.stringify(this.heard)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A kernel's client of port 7 of an address. */
class Peer extends Talker {
  constructor(netns: NetworkNamespace, source: string, address: string) {
    super(netns, PYTHON, [path("./criu_peer.py"), source, address]);
  }

  get bytes(): string {
    return Buffer.from(
      this.heard.filter((line) => line.startsWith("heard ")).map((line) => line.slice(6)).join(""),
      "hex",
    ).toString("latin1");
  }

  get troubles(): string[] {
    return this.heard.filter((line) => !line.startsWith("heard ") && !line.startsWith("at "));
  }

  hears(length: number): Promise<void> {
    return this.until(`${length} bytes`, () => this.bytes.length >= length || this.troubles.length > 0);
  }
}

judge(
  "a connection of ours goes on as a socket of the kernel, restored from what we export, and its peer hears no reset",
  NEEDS,
  async () => {
    using folder = new TemporaryFolder();
    using netns = new NetworkNamespace();
    netns.run("ip", "tuntap", "add", "dev", "tor0", "mode", "tun");
    netns.configure("tor0", "10.7.0.2/24");
    const store = folder.file("store");
    const [node, ...rest] = RUN_ON.node;
    const server = new Talker(netns, node!, [
      ...rest,
      path("../../examples/deploy/server.ts"),
      ...["--folder", store, "--idle", "50", "--tun", "tor0"],
    ]);
    server.say(JSON.stringify({ request: "start" }));
    await server.until("the server", (heard) => heard.some((line) => line.includes("answer")));
    const peer = new Peer(netns, "10.7.0.2", "10.7.0.1");
    peer.say("hello");
    await peer.hears(5);
    expect((await torpor(["handover", store])).code).toBe(0);
    const { id } = JSON.parse((await torpor(["store", "ls", store, "--json"])).out) as { id: string };
    expect((await torpor(["criu", "export", store, id, folder.file("images")])).code).toBe(0);
    const told = ["files.img", "tcp-stream-1.img"].map((name) => {
      const json = folder.file(`${name}.json`);
      writeFileSync(json, execFileSync("crit", ["decode", "-i", `${folder.file("images")}/${name}`]));
      return json;
    });
    peer.say("nobody answers yet;");
    // First the socket, then its address: the other way round the kernel has a reset for what comes in between.
    const restored = new Talker(netns, PYTHON, [path("./criu_restore.py"), ...told]);
    await restored.until("the socket", (heard) => heard.includes("restored"));
    netns.run("ip", "addr", "add", "10.7.0.1/32", "dev", "lo");
    peer.say("and again");
    const all = "restored;" + "NOBODY ANSWERS YET;" + "AND AGAIN";
    await peer.hears(5 + all.length);
    expect(peer.troubles).toEqual([]);
    expect(peer.bytes.slice(5)).toBe(all);
  },
);

judge(
  "a socket of the kernel goes on with us, imported from what crit makes of it, and its peer hears no reset",
  NEEDS,
  async () => {
    using folder = new TemporaryFolder();
    const store = folder.file("store");
    using server = new KernelServer("node", store, 60_000);
    const { netns } = server;
    netns.run("ip", "addr", "add", `${STACK_ADDRESS}/32`, "dev", "lo"); // the kernel's, at first
    const dumped = new Talker(netns, PYTHON, [path("./criu_dump.py"), STACK_ADDRESS]);
    await dumped.until("the listener", (heard) => heard.includes("listening"));
    const peer = new Peer(netns, KERNEL_ADDRESS, STACK_ADDRESS);
    peer.say("hello;");
    await peer.hears(6);
    peer.say("unread;"); // it is in the image
    dumped.say("dump");
    await dumped.until("the images", (heard) => heard.length > 1);
    netns.run("ip", "addr", "del", `${STACK_ADDRESS}/32`, "dev", "lo"); // from here on nobody is there
    peer.say("nobody answers yet;");
    const images = folder.file("images");
    mkdirSync(images);
    for (const [name, content] of Object.entries(JSON.parse(dumped.heard[1]!) as Record<string, unknown>)) {
      writeFileSync(folder.file("in.json"), JSON.stringify(content));
      execFileSync("crit", ["encode", "-i", folder.file("in.json"), "-o", `${images}/${name}`]);
    }
    expect((await torpor(["criu", "import", images, store])).code).toBe(0);
    expect(await server.start()).toMatchObject({ asleep: 1, awake: 0 });
    peer.say("and again");
    const all = "hello;unread;nobody answers yet;and again";
    await peer.hears(all.length);
    expect(peer.troubles).toEqual([]);
    expect(peer.bytes).toBe(all);
  },
);
