import { describe, expect } from "vitest";
import { judge } from "../support/judge.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { INTERFACE, KernelServer, sleep, STACK_ADDRESS } from "./kernel_server.ts";

const NEEDS = ["root", "tun", "ip", "ping", "python3", "tcpdump", "tshark"] as const;

/** Sends datagrams of all kinds of lengths to an echo server and compares what comes back. */
const ECHO = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
s.settimeout(10)
s.connect((sys.argv[1], 7))
for length in (0, 1, 1472, 1473, 2952, 2953, 9000, 60000, 65507):
    sent = bytes((at * 31 + (at >> 8)) & 255 for at in range(length))
    s.send(sent)
    assert s.recv(70000) == sent, length
print("whole")
`;

for (const runtime of ["node", "deno"] as const) {
  describe(`the Linux kernel and a stack on ${runtime} cut and join datagrams`, () => {
    judge(
      "ping -s 60000 and UDP of 64 KB come back whole, and tshark joins all fragments",
      NEEDS,
      async () => {
        using folder = new TemporaryFolder();
        using server = new KernelServer(runtime, folder.file("store"), 3_600_000);
        await server.start();
        const file = folder.file("fragments.pcap");
        const tcpdump = server.netns.start("tcpdump", [
          "-i",
          INTERFACE,
          "-B",
          "65536",
          "-s",
          "2000",
          "-w",
          file,
        ]);
        await sleep(1000);
        const ping = server.netns.run("ping", "-c", "5", "-i", "0.2", "-s", "60000", STACK_ADDRESS);
        expect(ping).toContain(" 0% packet loss");
        expect(server.netns.run("python3", "-c", ECHO, STACK_ADDRESS)).toBe("whole\n");
        const { drops } = await server.counts();
        expect(drops).toEqual({});
        await sleep(1500); // longer than tcpdump gathers packets
        tcpdump.kill("SIGINT");
        await new Promise((resolve) => void tcpdump.once("exit", resolve));
        const read = (filter: string): string =>
          server.netns.run("tshark", "-r", file, "-o", "ip.check_checksum:TRUE", "-Y", filter).trim();
        const joined = read(`ip.src == ${STACK_ADDRESS} && ip.fragments`).split("\n").length;
        expect(joined).toBe(5 + 6); // the pings, and the datagrams beyond 1,472 bytes
        expect(read("_ws.malformed || ip.checksum.status == 0 || icmp.checksum.status == 0")).toBe("");
        expect(read("ip.fragment.overlap || ip.fragment.error || ip.fragment.toolongfragment")).toBe("");
        expect(read("icmp.type == 0").split("\n").length).toBe(5);
      },
      60_000,
    );
  });
}
