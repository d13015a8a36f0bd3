import { describe, expect } from "vitest";
import { judge } from "../support/judge.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { Capture, WHOLE_BYTES } from "./capture.ts";
import { INTERFACE, KernelServer, STACK_ADDRESS } from "./kernel_server.ts";

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
  describe.concurrent(`the Linux kernel and a stack on ${runtime} cut and join datagrams`, () => {
    judge(
      "ping -s 60000 and UDP of 64 KB come back whole, and tshark joins all fragments",
      NEEDS,
      async () => {
        using folder = new TemporaryFolder();
        using server = new KernelServer(runtime, folder.file("store"), 3_600_000);
        await server.start();
        const capture = await Capture.start(server.netns, INTERFACE, folder.file("fragments.pcap"), {
          bytes: WHOLE_BYTES,
          checked: ["ip"],
        });
        const ping = await server.netns.output("ping", "-c", "5", "-i", "0.2", "-s", "60000", STACK_ADDRESS);
        expect(ping).toContain(" 0% packet loss");
        expect(server.netns.run("python3", "-c", ECHO, STACK_ADDRESS)).toBe("whole\n");
        const { drops } = await server.counts();
        expect(drops).toEqual({});
        await capture.stop();
        const joined = (await capture.lines(`ip.src == ${STACK_ADDRESS} && ip.fragments`)).length;
        expect(joined).toBe(5 + 6); // the pings, and the datagrams beyond 1,472 bytes
        const broken = "_ws.malformed || ip.checksum.status == 0 || icmp.checksum.status == 0";
        expect(await capture.lines(broken)).toEqual([]);
        const wrong = "ip.fragment.overlap || ip.fragment.error || ip.fragment.toolongfragment";
        expect(await capture.lines(wrong)).toEqual([]);
        expect((await capture.lines("icmp.type == 0")).length).toBe(5);
      },
    );
  });
}
