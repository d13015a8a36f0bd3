import { join } from "node:path";
import { createInterface } from "node:readline";
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
const BYTES = 900_000;
/** A server is killed so long after it has heard something, at most: else a slow machine would get nowhere. */
const LIFE_MS = 400;
/** The last one is left alone. */
const KILLS = 4;
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
    let over = false;
    /** @returns The process, once it is ready, and what resolves when it has heard something. */
    const start = async (): Promise<
      { server: ReturnType<NetworkNamespace["start"]>; heard: Promise<void> }
    > => {
      const server = netns.start(program!, [
        ...args,
        file("durable_server"),
        INTERFACE,
        `${SERVER_ADDRESS}/24`,
        join(folder.path, "store"),
      ]);
      let hear: () => void = () => {};
      const heard = new Promise<void>((resolve) => void (hear = resolve));
      await new Promise<void>((resolve, reject) => {
        server.once("exit", (code) => reject(new Error(`The server ended with ${code} before it was ready`)));
        createInterface({ input: server.stdout! }).on("line", (line) => {
          if (line === "ready") resolve();
          else if (line === "heard") hear();
          else told.push(line);
        });
      });
      return { server, heard };
    };
    let { server, heard } = await start();
    const clients = netns.start(program!, [
      ...args,
      file("durable_client"),
      SERVER_ADDRESS,
      `${CLIENTS}`,
      `${BYTES}`,
    ]);
    let results = "";
    clients.stdout!.setEncoding("utf8").on("data", (text: string) => void (results += text));
    const ended = new Promise<void>((resolve) =>
      void clients.once("exit", () => resolve(void (over = true)))
    );
    let kills = 0;
    for (; kills < KILLS && !over; kills++) {
      await Promise.race([ended, heard.then(() => sleep(prng.below(LIFE_MS)))]);
      server.kill("SIGKILL");
      await new Promise((resolve) => void server.once("exit", resolve));
      ({ server, heard } = await start());
    }
    await ended;
    expect(told).toEqual([]);
    expect(results.trim().split("\n")).toEqual(Array(CLIENTS).fill("whole"));
    expect(kills).toBe(KILLS);
  },
  300_000,
);
