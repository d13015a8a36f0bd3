import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { said } from "../support/said.ts";

const ROUTER = fileURLToPath(new URL("./router.ts", import.meta.url));
const NEEDS = ["root", "tun", "ip", "ping", "curl", "iperf3", "traceroute", "tracepath", "python3"] as const;
const NEAR = "10.81.0.2";
const FAR = "10.82.0.2";

for (const runtime of ["node", "deno"] as const) {
  describe.concurrent(`two Linux kernels with a router on ${runtime} between them`, () => {
    judge("ping, traceroute, tracepath, curl and iperf3 go through it", NEEDS, async () => {
      using near = new NetworkNamespace();
      using far = new NetworkNamespace();
      for (const name of ["near0", "far0"]) near.run("ip", "tuntap", "add", "dev", name, "mode", "tun");
      near.configure("near0", `${NEAR}/24`);
      near.run("ip", "route", "add", "default", "via", "10.81.0.1");
      const [program, ...args] = RUN_ON[runtime];
      const sides = ["near0", "10.81.0.1/24", "1500", "far0", "10.82.0.1/24", "1400"];
      const router = near.start(program!, [...args, ROUTER, ...sides]);
      const lines = createInterface({ input: router.stdout! })[Symbol.asyncIterator]();
      expect((await lines.next()).value).toBe("ready");
      near.run("ip", "link", "set", "far0", "netns", far.name); // the router keeps its descriptor
      far.configure("far0", `${FAR}/24`, 1400);
      far.run("ip", "route", "add", "default", "via", "10.82.0.1");

      expect(await near.output("ping", "-c", "3", "-i", "0.2", FAR)).toContain(" 0% packet loss");
      // Longer than the second link: our stack cuts what comes without DF, on the way there and back.
      expect(await near.output("ping", "-c", "3", "-i", "0.2", "-M", "dont", "-s", "1472", FAR)).toContain(
        " 0% packet loss",
      );
      expect(await near.output("ping", "-c", "3", "-i", "0.2", "-M", "dont", "-s", "20000", FAR)).toContain(
        " 0% packet loss",
      );
      // The router is a hop of its own, and it answers with its own address.
      const hops = (await near.output("traceroute", "-n", "-q", "1", "-w", "2", FAR)).trim().split("\n")
        .slice(1);
      expect(hops.map((hop) => hop.trim().split(/\s+/)[1])).toEqual(["10.81.0.1", FAR]);
      expect(await near.output("tracepath", "-n", FAR)).toMatch(/pmtu 1400[^]*Resume: pmtu 1400 hops 2/);

      const web = far.start("python3", ["-m", "http.server", "-d", "/usr/share/common-licenses", "8000"]);
      const iperf3 = far.start("iperf3", ["-s", "--forceflush"]);
      await said(iperf3.stdout!, /listening/);
      const license = await near.output(
        "curl",
        "-sS",
        "--retry",
        "5",
        "--retry-connrefused",
        `http://${FAR}:8000/GPL-3`,
      );
      expect(license).toBe(far.run("cat", "/usr/share/common-licenses/GPL-3"));
      web.kill();
      for (const direction of [[], ["-R"]]) {
        const report = JSON.parse(await near.output("iperf3", "-c", FAR, "-n", "50M", "-J", ...direction));
        expect(report.error).toBeUndefined();
        expect(report.end.sum_received.bytes).toBeGreaterThan(10_000_000);
        console.log(
          `${runtime}, iperf3 through us: ${
            (report.end.sum_received.bits_per_second / 1e6).toFixed(0)
          } Mbit/s`,
        );
      }
      router.stdin!.write("\n");
      const { drops, ...counters } = JSON.parse((await lines.next()).value);
      expect(counters.packets).toBeGreaterThan(10_000);
      expect(counters.fragmented).toBeGreaterThan(3);
      expect(Object.keys(drops).filter((name) => name.startsWith("Ipv4") && name !== "Ipv4TimeToLive"))
        .toEqual([]);
    });
  });
}
