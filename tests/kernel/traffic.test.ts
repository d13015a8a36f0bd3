import { createHash } from "node:crypto";
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { describe, expect } from "vitest";
import { judge } from "../support/judge.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { Capture, WHOLE_BYTES } from "./capture.ts";
import { INTERFACE, KERNEL_ADDRESS, KernelServer, STACK_ADDRESS } from "./kernel_server.ts";
import { pattern, patternHash } from "./pattern.ts";

const GIGABYTE = 1_000_000_000;
/** More bytes than there are sequence numbers, as iperf3 takes them: of 1,048,576 each. */
const ROUND = "4200M";
const NEEDS = ["root", "tun", "ip", "curl", "ping", "nc", "iperf3", "tcpdump", "tshark"] as const;
const NEVER_IDLE_MS = 3_600_000;

for (const runtime of ["node", "deno"] as const) {
  describe(`the Linux kernel talks to a stack on ${runtime}`, () => {
    judge("ping, curl and nc get their answers", NEEDS, async () => {
      using folder = new TemporaryFolder();
      using server = new KernelServer(runtime, folder.path, NEVER_IDLE_MS);
      await server.start();
      expect(await server.netns.output("ping", "-c", "5", "-i", "0.2", "-s", "1400", STACK_ADDRESS))
        .toContain(
          " 0% packet loss",
        );
      expect(server.netns.run("curl", "-sS", `http://${STACK_ADDRESS}/`)).toBe("Hello from userspace\n");
      const echoed = server.netns.run("sh", "-c", `printf 'one\\ntwo\\n' | nc -N ${STACK_ADDRESS} 7`);
      expect(echoed).toBe("one\ntwo\n");
      expect(() => server.netns.run("nc", "-z", "-w", "2", STACK_ADDRESS, "81")).toThrow(); // refused, at once
    });

    judge("a gigabyte each way arrives as it left", NEEDS, async () => {
      using folder = new TemporaryFolder();
      using server = new KernelServer(runtime, folder.path, NEVER_IDLE_MS);
      await server.start();
      const need = patternHash(GIGABYTE);
      const down = await hashOf(server, "curl", ["-sS", `http://${STACK_ADDRESS}/bytes/${GIGABYTE}`]);
      expect(down).toBe(need);
      const file = folder.file("gigabyte");
      const handle = openSync(file, "w");
      for (const piece of pattern(GIGABYTE)) writeSync(handle, piece);
      closeSync(handle);
      const answer = await outputOf(server, "curl", ["-sS", "-T", file, `http://${STACK_ADDRESS}/`]);
      expect(answer).toBe(need);
    }, 240_000);

    judge("iperf3 goes once round all sequence numbers each way", NEEDS, async () => {
      using folder = new TemporaryFolder();
      using server = new KernelServer(runtime, folder.path, NEVER_IDLE_MS);
      await server.start();
      for (const direction of [[], ["-R"]]) {
        const report = JSON.parse(
          await outputOf(server, "iperf3", [
            ...["-c", STACK_ADDRESS, "-n", ROUND, "-J"],
            ...direction,
          ]),
        );
        expect(report.error).toBeUndefined();
        const sent = report.end.sum_sent.bytes;
        const received = report.end.sum_received.bytes;
        expect(received).toBeGreaterThan(2 ** 32);
        expect(received).toBeLessThanOrEqual(sent + 128 * 1024);
        const megabytes = received / report.end.sum_received.seconds / 1e6;
        console.log(`${runtime}, iperf3 ${direction[0] ?? "to us"}: ${megabytes.toFixed(0)} MB/s`);
      }
    }, 240_000);

    judge("tshark finds nothing malformed and no bad checksum", NEEDS, async () => {
      using folder = new TemporaryFolder();
      using server = new KernelServer(runtime, folder.path, NEVER_IDLE_MS, "bare");
      await server.start();
      const capture = await Capture.start(server.netns, INTERFACE, folder.file("capture.pcap"), {
        bytes: WHOLE_BYTES,
        checked: ["tcp", "ip"],
      });
      await server.netns.output("curl", "-sS", "-o", "/dev/null", `http://${STACK_ADDRESS}/bytes/20000000`);
      const body = folder.file("body");
      writeFileSync(body, new Uint8Array(20_000_000));
      await outputOf(server, "curl", ["-sS", "-T", body, `http://${STACK_ADDRESS}/`]);
      await server.netns.output("ping", "-c", "2", "-i", "0.2", STACK_ADDRESS);
      await server.netns.output("sh", "-c", `printf hello | nc -N ${STACK_ADDRESS} 7`);
      await capture.stop();
      expect((await capture.lines("tcp")).length).toBeGreaterThan(1_000);
      // Linux writes a TCP checksum that comes out as zero as 0xffff; tshark calls that bad, so such are the kernel's alone.
      const kernels = `(ip.src == ${KERNEL_ADDRESS} && tcp.checksum == 0xffff)`;
      const bad =
        `_ws.malformed || (tcp.checksum.status == 0 && !${kernels}) || ip.checksum.status == 0 || icmp.checksum.status == 0`;
      expect(await capture.lines(bad)).toEqual([]);
      const late = `ip.src == ${STACK_ADDRESS} && tcp.option_kind == 2 && tcp.flags.syn == 0`;
      expect(await capture.lines(late)).toEqual([]);
      const { TcpUnacceptable: again = 0, ...drops } = (await server.counts()).drops;
      expect(drops).toEqual({});
      expect(again).toBeLessThanOrEqual(retransmitted(server)); // who has to wait for us on a busy machine asks again
    });
  });
}

/** Segments that the kernel has sent again. */
function retransmitted(server: KernelServer): number {
  const [names, values] = server.netns.run("grep", "^Tcp:", "/proc/net/snmp").split("\n");
  return Number(values!.split(" ")[names!.split(" ").indexOf("RetransSegs")]);
}

/** What a program in the namespace prints. */
async function outputOf(server: KernelServer, program: string, args: string[]): Promise<string> {
  const child = server.netns.start(program, args);
  let text = "";
  child.stdout!.on("data", (piece) => void (text += piece));
  await new Promise((resolve) => void child.once("close", resolve));
  return text;
}

/** The SHA-256 of what a program in the namespace prints. */
async function hashOf(server: KernelServer, program: string, args: string[]): Promise<string> {
  const child = server.netns.start(program, args);
  const hash = createHash("sha256");
  child.stdout!.on("data", (piece) => void hash.update(piece));
  await new Promise((resolve) => void child.once("close", resolve));
  return hash.digest("hex");
}
