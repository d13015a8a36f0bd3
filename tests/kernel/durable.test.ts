import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { Prng } from "../../base/random.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { drawSeed } from "../support/seed.ts";
import { sleep } from "./kernel_server.ts";

const NEEDS = ["root", "tun", "ip"] as const;
const INTERFACE = "tor0";
const [SERVER_ADDRESS, CLIENT_ADDRESS] = ["10.77.1.1", "10.77.1.2"];
const CLIENTS = 6;
const BYTES = 250_000;
/** A server lives for so long at most, from its first moment on, and is killed. */
const LIFE_MS = 900;
const LIVES_MIN = 5;
const file = (name: string): string => fileURLToPath(new URL(`./${name}.ts`, import.meta.url));

const seed = drawSeed("DURABLE_SEED", 1e9);

judge(
  `the kernel's connections to a durable server that is killed under traffic are whole, and never reset (seed ${seed})`,
  NEEDS,
  async () => {
    const prng = new Prng(seed);
    using folder = new TemporaryFolder();
    using netns = new NetworkNamespace();
    netns.run("ip", "tuntap", "add", "dev", INTERFACE, "mode", "tun");
    netns.configure(INTERFACE, `${CLIENT_ADDRESS}/24`);
    const [program, ...args] = RUN_ON.node;
    const told: string[] = [];
    const start = async (): Promise<ReturnType<NetworkNamespace["start"]>> => {
      const server = netns.start(program!, [
        ...args,
        file("durable_server"),
        INTERFACE,
        `${SERVER_ADDRESS}/24`,
        join(folder.path, "store"),
      ]);
      await new Promise<void>((resolve, reject) => {
        server.once("exit", (code) => reject(new Error(`The server ended with ${code} before it was ready`)));
        server.stdout!.setEncoding("utf8").on("data", (text: string) => {
          if (text.includes("ready")) resolve();
          told.push(...text.split("\n").filter((line) => line !== "" && line !== "ready"));
        });
      });
      return server;
    };
    let server = await start();
    const clients = netns.start(program!, [
      ...args,
      file("durable_client"),
      SERVER_ADDRESS,
      `${CLIENTS}`,
      `${BYTES}`,
    ]);
    let results = "";
    clients.stdout!.setEncoding("utf8").on("data", (text: string) => void (results += text));
    let over = false;
    const ended = new Promise<void>((resolve) =>
      void clients.once("exit", () => resolve(void (over = true)))
    );
    let lives = 1;
    while (!over) {
      await Promise.race([ended, sleep(prng.below(LIFE_MS))]);
      if (over && lives >= LIVES_MIN) break;
      server.kill("SIGKILL");
      await new Promise((resolve) => void server.once("exit", resolve));
      server = await start();
      lives++;
    }
    expect(told).toEqual([]);
    expect(results.trim().split("\n")).toEqual(Array(CLIENTS).fill("whole"));
    expect(lives).toBeGreaterThanOrEqual(LIVES_MIN);
  },
  300_000,
);
