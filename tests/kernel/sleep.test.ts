import { join } from "node:path";
import { describe, expect } from "vitest";
import { judge } from "../support/judge.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { Capture } from "./capture.ts";
import { INTERFACE, KERNEL_ADDRESS, KernelServer, sleep, STACK_ADDRESS } from "./kernel_server.ts";

const NEEDS = ["root", "tun", "ip", "ss", "nc", "tcpdump", "tshark"] as const;
const IDLE_MS = 500;

for (const runtime of ["node", "deno"] as const) {
  describe.concurrent(`a kernel client's connection sleeps on ${runtime}`, () => {
    judge("silently, out of memory, through kill -9, and answers the next byte", NEEDS, async () => {
      using folder = new TemporaryFolder();
      using server = new KernelServer(runtime, join(folder.path, "store"), IDLE_MS);
      await server.start();
      const before = await server.counts();
      const client = server.netns.start("nc", [STACK_ADDRESS, "7"]);
      const answers: string[] = [];
      client.stdout!.setEncoding("utf8").on("data", (text: string) => void answers.push(text));
      const heard = async (text: string): Promise<void> => {
        for (let turn = 0; turn < 600 && answers.join("") !== text; turn++) await sleep(50);
        expect(answers.join("")).toBe(text);
        answers.length = 0;
      };
      client.stdin!.write("hello\n");
      await heard("hello\n");

      // From the last ACK on: whoever says anything now is found in the capture.
      await sleep(IDLE_MS / 2);
      const capture = await Capture.start(server.netns, INTERFACE, folder.file("silence.pcap"));
      await server.until(({ asleep }) => asleep === 1, "the connection sleeps");
      await sleep(1000);
      await capture.stop();
      expect(await capture.lines("frame")).toEqual([]);
      expect(established(server)).toBe(1);
      const counts = await server.counts();
      expect(counts).toMatchObject({ awake: 0, asleep: 1, waking: 0, suspends: 1 });
      if (runtime === "node") expect(counts.tcbs).toBe(before.tcbs);

      client.stdin!.write("awake\n");
      await heard("awake\n");
      await server.until(({ asleep }) => asleep === 1, "it sleeps again");

      await server.kill();
      expect(established(server)).toBe(1);
      expect(await server.start()).toMatchObject({ awake: 0, asleep: 1 });
      client.stdin!.write("after the crash\n");
      await heard("after the crash\n");
      expect(await server.counts()).toMatchObject({ restores: 1 });
      expect(established(server)).toBe(1);
      client.stdin!.end();
      client.kill();
    });

    judge("a connection that was awake at the crash gets a reset, not silence", NEEDS, async () => {
      using folder = new TemporaryFolder();
      using server = new KernelServer(runtime, join(folder.path, "store"), 3_600_000);
      await server.start();
      const client = server.netns.start("nc", [STACK_ADDRESS, "7"]);
      let heard = "";
      client.stdout!.on("data", (text) => void (heard += text));
      client.stdin!.write("hello\n");
      for (let turn = 0; turn < 600 && heard === ""; turn++) await sleep(50);
      await server.kill();
      await server.start();
      client.stdin!.write("anybody?\n");
      await new Promise((resolve) => void client.once("exit", resolve));
      expect(heard).toBe("hello\n");
      expect(established(server)).toBe(0);
    });
  });
}

function established(server: KernelServer): number {
  const lines = server.netns.run("ss", "-Htn", "state", "established", "src", KERNEL_ADDRESS).trim();
  return lines === "" ? 0 : lines.split("\n").length;
}
