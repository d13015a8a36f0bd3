import { join } from "node:path";
import { describe, expect } from "vitest";
import { Slab } from "../../base/slab.ts";
import { finishIcmpv6Checksum } from "../../net/wire/icmpv6.ts";
import { sumIpv6Address, writeIpv6 } from "../../net/wire/ipv6.ts";
import { parseIpv6 } from "../../net/wire/ipv6_address.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { Capture, WHOLE_BYTES } from "./capture.ts";
import { INTERFACE, KERNEL_ADDRESS6, KernelServer, sleep, STACK_ADDRESS6 } from "./kernel_server.ts";
import { patternHash } from "./pattern.ts";

const NEEDS = ["root", "tun", "ip", "ss", "curl", "ping", "nc", "iperf3", "tcpdump", "tshark"] as const;
const NEVER_IDLE_MS = 3_600_000;
const IDLE_MS = 500;
const BYTES = 50_000_000;

for (const runtime of ["node", "deno"] as const) {
  describe.concurrent(`the Linux kernel talks IPv6 to a stack on ${runtime}`, () => {
    judge("ping, curl, nc, iperf3 and UDP get their answers; tshark finds no fault", NEEDS, async () => {
      using folder = new TemporaryFolder();
      using server = new KernelServer(runtime, folder.path, NEVER_IDLE_MS);
      await server.start();
      const { netns } = server;
      const capture = await Capture.start(netns, INTERFACE, folder.file("capture.pcap"), { bytes: 256 });
      for (const size of ["56", "1400", "4000"]) { // the last in fragments, both ways
        expect(await netns.output("ping", "-6", "-c", "3", "-i", "0.2", "-s", size, STACK_ADDRESS6))
          .toContain(
            " 0% packet loss",
          );
      }
      const url = `http://[${STACK_ADDRESS6}]`;
      expect(netns.run("curl", "-6", "-sS", `${url}/`)).toBe("Hello from userspace\n");
      const hash = await netns.output("sh", "-c", `curl -6 -sS ${url}/bytes/${BYTES} | sha256sum`);
      expect(hash.slice(0, 64)).toBe(patternHash(BYTES));
      expect(netns.run("sh", "-c", `printf 'one\\ntwo\\n' | nc -6 -N ${STACK_ADDRESS6} 7`)).toBe(
        "one\ntwo\n",
      );
      expect(() => netns.run("nc", "-6", "-z", "-w", "2", STACK_ADDRESS6, "81")).toThrow(); // refused, at once
      expect(await netns.output("sh", "-c", `printf hello | nc -6 -u -W 1 -w 2 ${STACK_ADDRESS6} 7`)).toBe(
        "hello",
      );
      // A closed UDP port: the kernel believes our Port Unreachable.
      const refused = await netns.output(
        "sh",
        "-c",
        `(echo x; sleep 0.3; echo y) | nc -6 -u -w 1 ${STACK_ADDRESS6} 9 2>&1; true`,
      );
      expect(refused).toBe("");
      const report = JSON.parse(await netns.output("iperf3", "-6", "-c", STACK_ADDRESS6, "-n", "20M", "-J"));
      expect(report.error).toBeUndefined();
      expect(report.end.sum_received.bytes).toBeGreaterThan(10_000_000);
      await capture.stop();
      const ours = `ipv6.src == ${STACK_ADDRESS6}`;
      expect((await capture.lines("ipv6")).length).toBeGreaterThan(1_000);
      expect(await capture.lines(`${ours} && icmpv6.type == 1 && icmpv6.code == 4`)).not.toEqual([]);
      expect(await capture.lines(`${ours} && ipv6.fraghdr`)).not.toEqual([]);
      expect(await capture.lines(`${ours} && tcp.flags.syn == 1 && tcp.options.mss_val != 1440`)).toEqual([]);
      // One label per flow, and another for another.
      const labels = await capture.lines(`${ours} && tcp`, "tcp.stream", "ipv6.flow");
      const streams = new Set(labels.map((line) => line.split("\t")[0]));
      expect(new Set(labels).size).toBe(streams.size);
      expect(new Set(labels.map((line) => line.split("\t")[1])).size).toBe(streams.size);
      const { drops } = await server.counts();
      expect(Object.keys(drops).filter((reason) => /Malformed|Checksum|Short|Length/.test(reason)))
        .toEqual([]);
    });

    judge(
      "a client's connection sleeps, silently, through kill -9, and answers the next byte",
      NEEDS,
      async () => {
        using folder = new TemporaryFolder();
        using server = new KernelServer(runtime, join(folder.path, "store"), IDLE_MS);
        await server.start();
        const { netns } = server;
        const client = netns.start("nc", ["-6", STACK_ADDRESS6, "7"]);
        const answers: string[] = [];
        client.stdout!.setEncoding("utf8").on("data", (text: string) => void answers.push(text));
        const heard = async (text: string): Promise<void> => {
          for (let turn = 0; turn < 600 && answers.join("") !== text; turn++) await sleep(50);
          expect(answers.join("")).toBe(text);
          answers.length = 0;
        };
        client.stdin!.write("hello\n");
        await heard("hello\n");
        await sleep(IDLE_MS / 2);
        const capture = await Capture.start(netns, INTERFACE, folder.file("silence.pcap"), { only: "tcp" });
        await server.until(({ asleep }) => asleep === 1, "the connection sleeps");
        await sleep(1000);
        await capture.stop();
        expect(await capture.lines("frame")).toEqual([]);
        await server.kill();
        expect(await server.start()).toMatchObject({ awake: 0, asleep: 1 });
        client.stdin!.write("after the crash\n");
        await heard("after the crash\n");
        expect(await server.counts()).toMatchObject({ restores: 1 });
        expect(netns.run("ss", "-Htn6", "state", "established", "src", `[${KERNEL_ADDRESS6}]`)).not.toBe("");
        client.stdin!.end();
        client.kill();
      },
    );

    judge(
      "on an Ethernet: neighbours find each other, prefixes give addresses, duplicates are noticed on both sides",
      NEEDS,
      async () => {
        using folder = new TemporaryFolder();
        using server = new KernelServer(runtime, folder.path, NEVER_IDLE_MS, "tap");
        const { netns } = server;
        const capture = await Capture.start(netns, INTERFACE, folder.file("ndp.pcap"), {
          bytes: WHOLE_BYTES,
        });
        await server.start();
        const first = await server.until(({ own }) => own.length === 1, "it has a link-local address");
        const linkLocal = first.own[0]!.split("%")[0]!;
        // While its own is tentative the kernel would ask from another address, which the stack knows no way to.
        const kernels = (): string =>
          netns.run("ip", "-6", "addr", "show", "dev", INTERFACE, "scope", "link");
        for (let turn = 0; turn < 100 && !/fe80(?!.*tentative)/.test(kernels()); turn++) await sleep(50);
        expect(netns.run("ping", "-6", "-c", "2", "-i", "0.2", `${linkLocal}%${INTERFACE}`)).toContain(
          " 0% packet loss",
        );
        expect(netns.run("ip", "-6", "neigh", "show", linkLocal)).toMatch(
          /lladdr 02:00:00:00:77:01 .*REACHABLE/,
        );

        // The kernel is a router, and we say it for it: SLAAC, and packets beyond the prefix to it. Were it none, it would
        // lose its place as soon as it is asked whether it is there still (RFC 4861 section 7.2.5).
        netns.run("sh", "-c", `echo 1 > /proc/sys/net/ipv6/conf/${INTERFACE}/forwarding`);
        server.inject(advertisementFromKernel());
        const second = await server.until(({ own }) => own.length === 2, "it has an address of the prefix");
        const global = second.own[1]!;
        expect(global).toMatch(/^fd77::/);
        expect(netns.run("ping", "-6", "-c", "2", "-i", "0.2", global)).toContain(" 0% packet loss");
        netns.run("ip", "addr", "add", "fd99::9/128", "dev", INTERFACE, "nodad");
        expect(netns.run("ping", "-6", "-c", "2", "-i", "0.2", "-I", "fd99::9", global)).toContain(
          " 0% packet loss",
        );
        const echoed = netns.run("sh", "-c", `printf 'over tap\\n' | nc -6 -N ${global} 7`);
        expect(echoed).toBe("over tap\n");

        // The kernel wants an address that the stack has: its probe is answered.
        netns.run("ip", "addr", "add", `${global}/64`, "dev", INTERFACE);
        let flags = "";
        for (let turn = 0; turn < 100 && !flags.includes("dadfailed"); turn++) {
          await sleep(50);
          flags = netns.run("ip", "-6", "addr", "show", "dev", INTERFACE);
        }
        expect(flags).toContain("dadfailed");

        // The stack wants an address that the kernel has: it takes another.
        await server.kill();
        netns.run("ip", "addr", "del", `${global}/64`, "dev", INTERFACE);
        netns.run("ip", "addr", "add", `${linkLocal}/64`, "dev", INTERFACE, "nodad");
        await server.start();
        const third = await server.until(({ own }) => own.length === 1, "it has another link-local address");
        expect(third.own[0]!.split("%")[0]).not.toBe(linkLocal);

        await capture.stop();
        expect(await capture.lines("_ws.malformed || icmpv6.checksum.status == 0")).toEqual([]);
        const probes = "eth.src == 02:00:00:00:77:01 && icmpv6.type == 135 && ipv6.src == ::";
        expect(await capture.lines(probes)).not.toEqual([]);
      },
    );
  });
}

/** A router advertisement as the kernel's interface would send it: fd77::/64, itself the way to everywhere. */
function advertisementFromKernel(): string {
  const hex = (address: string): string =>
    parseIpv6(address)!.map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  const message = "86000000" + "40000708" + "0000000000000000" + "0101020000007702" +
    "030440c00000ffff0000ffff00000000" + hex("fd77::");
  const slab = new Slab(
    Uint8Array.from(Buffer.from("333300000001" + "020000007702" + "86dd" + "00".repeat(40) + message, "hex")),
  );
  const end = slab.bytes.length;
  writeIpv6(slab, 14, end - 54, 58, 0, 0, 255);
  slab.bytes.set(Buffer.from(hex("fe80::ff:fe00:7702") + hex("ff02::1"), "hex"), 22);
  finishIcmpv6Checksum(slab, 54, end, sumIpv6Address(slab, 22), sumIpv6Address(slab, 38));
  return Buffer.from(slab.bytes).toString("hex");
}
