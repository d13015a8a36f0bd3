import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { sleep } from "./kernel_server.ts";

const HOST = fileURLToPath(new URL("./dad_host.ts", import.meta.url));
const NEEDS = ["root", "tun", "ip", "ping"] as const;

for (const runtime of ["node", "deno"] as const) {
  describe.concurrent(`a host on ${runtime} and the Linux kernel want the same addresses`, () => {
    judge("who has one first keeps it, on both sides (RFC 4862 section 5.4)", NEEDS, async () => {
      using netns = new NetworkNamespace();
      netns.run("ip", "tuntap", "add", "dev", "tap0", "mode", "tap");
      netns.run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/tap0/disable_ipv6");
      netns.run("ip", "link", "set", "tap0", "up");
      netns.run("ip", "-6", "addr", "add", "fd78::9/64", "dev", "tap0", "nodad");
      const [program, ...args] = RUN_ON[runtime];
      const host = netns.start(program!, [...args, HOST, "tap0", "fd78::9/64", "fd78::10/64"]);
      const lines = createInterface({ input: host.stdout! })[Symbol.asyncIterator]();
      expect((await lines.next()).value).toBe("duplicate fd78::9");
      expect((await lines.next()).value).toBe(`own ${0x10}`);
      expect(await netns.output("ping", "-6", "-c", "2", "-i", "0.2", "fd78::10")).toContain(
        " 0% packet loss",
      );
      // Now the kernel wants ours: we answer its probe.
      netns.run("ip", "-6", "addr", "add", "fd78::10/64", "dev", "tap0");
      let failed = "";
      for (let tries = 0; tries < 300 && failed === ""; tries++) {
        await sleep(100);
        failed = netns.run("ip", "-6", "addr", "show", "dev", "tap0", "dadfailed");
      }
      expect(failed).toContain("fd78::10/64");
    });
  });
}
