import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { said } from "../support/said.ts";

const ROUTER = fileURLToPath(new URL("./router.ts", import.meta.url));
const NEEDS = ["root", "tun", "ip", "ping", "curl", "iperf3", "traceroute", "tracepath", "python3"] as const;
const NEAR = "2001:db8:81::2";
const FAR = "2001:db8:82::2";
const NEAR_US = "2001:db8:81::1";

/** Gives an interface an IPv6 address at once, and a way to everywhere through `router`. */
function configure(
  netns: NetworkNamespace,
  name: string,
  address: string,
  mtu: number,
  router: string,
): void {
  netns.run("sh", "-c", `echo 0 > /proc/sys/net/ipv6/conf/${name}/disable_ipv6`);
  netns.run("ip", "link", "set", name, "mtu", `${mtu}`, "txqueuelen", "2000", "up");
  netns.run("ip", "-6", "addr", "add", `${address}/64`, "dev", name, "nodad");
  netns.run("ip", "-6", "route", "add", "default", "via", router, "dev", name);
}

for (const runtime of ["node", "deno"] as const) {
  describe.concurrent(`two Linux kernels with an IPv6 router on ${runtime} between them`, () => {
    judge(
      "ping, traceroute, tracepath, curl and iperf3 go through it over Ethernet and TUN",
      NEEDS,
      async () => {
        using near = new NetworkNamespace();
        using far = new NetworkNamespace();
        near.run("ip", "tuntap", "add", "dev", "tap0", "mode", "tap");
        near.run("ip", "tuntap", "add", "dev", "far0", "mode", "tun");
        configure(near, "tap0", NEAR, 1500, NEAR_US);
        const [program, ...args] = RUN_ON[runtime];
        const sides = ["tap0", `${NEAR_US}/64`, "1500", "far0", "2001:db8:82::1/64", "1400"];
        const router = near.start(program!, [...args, ROUTER, ...sides]);
        const lines = createInterface({ input: router.stdout! })[Symbol.asyncIterator]();
        expect((await lines.next()).value).toBe("ready");
        near.run("ip", "link", "set", "far0", "netns", far.name); // the router keeps its descriptor
        configure(far, "far0", FAR, 1400, "2001:db8:82::1");

        expect(await near.output("ping", "-6", "-c", "3", "-i", "0.2", FAR)).toContain(" 0% packet loss");
        expect(await near.output("ping", "-6", "-c", "3", "-i", "0.2", "ff02::2%tap0")).toContain(
          " 0% packet loss",
        );
        // The kernel has our station address, and knows us for a router.
        expect(near.run("ip", "-6", "neigh", "show", NEAR_US, "dev", "tap0")).toMatch(/lladdr \S+ router /);
        // Fragments pass as they are; the second link is narrower: the first ping only learns that.
        await near.output("sh", "-c", `ping -6 -c 1 -W 1 -s 3000 ${FAR}; true`);
        expect(await near.output("ping", "-6", "-c", "3", "-i", "0.2", "-s", "3000", FAR)).toContain(
          " 0% packet loss",
        );
        // The router is a hop of its own, and it answers with its own address.
        const hops = (await near.output("traceroute", "-6", "-n", "-q", "1", "-w", "2", FAR)).trim().split(
          "\n",
        ).slice(
          1,
        );
        expect(hops.map((hop) => hop.trim().split(/\s+/)[1])).toEqual([NEAR_US, FAR]);
        near.run("ip", "-6", "route", "flush", "cache");
        expect(await near.output("tracepath", "-6", "-n", FAR)).toMatch(
          /pmtu 1400[^]*Resume: pmtu 1400 hops 2/,
        );
        // Nothing leads there from us: we say so.
        expect(await near.output("sh", "-c", "ping -6 -c 1 -W 2 2001:db8:83::9; true")).toContain("No route");

        const web = far.start(
          "python3",
          ["-m", "http.server", "-b", "::", "-d", "/usr/share/common-licenses", "8000"],
        );
        const iperf3 = far.start("iperf3", ["-s", "--forceflush"]);
        await said(iperf3.stdout!, /listening/);
        const retries = ["--retry", "5", "--retry-connrefused"];
        const license = await near.output("curl", "-6", "-sS", ...retries, `http://[${FAR}]:8000/GPL-3`);
        expect(license).toBe(far.run("cat", "/usr/share/common-licenses/GPL-3"));
        web.kill();
        for (const direction of [[], ["-R"]]) {
          const report = JSON.parse(
            await near.output("iperf3", "-6", "-c", FAR, "-n", "50M", "-J", ...direction),
          );
          expect(report.error).toBeUndefined();
          expect(report.end.sum_received.bytes).toBeGreaterThan(10_000_000);
          const megabits = (report.end.sum_received.bits_per_second / 1e6).toFixed(0);
          console.log(`${runtime}, iperf3 over IPv6 through us: ${megabits} Mbit/s`);
        }
        router.stdin!.write("\n");
        const { drops, ...counters } = JSON.parse((await lines.next()).value);
        expect(counters.packets).toBeGreaterThan(10_000);
        expect(Object.keys(drops).filter((name) => /Malformed|Checksum|Short|Length|Source/.test(name)))
          .toEqual(
            [],
          );
      },
    );
  });
}
