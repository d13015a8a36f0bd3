import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";

const HOST = fileURLToPath(new URL("datagram_trains_host.ts", import.meta.url));

/** Gives the kernel datagrams to cut (UDP_SEGMENT), the last of each train shorter, and compares what comes back. */
const ECHO = `
import socket, sys
UDP_SEGMENT = 103
sent = 0
for family, address in ((socket.AF_INET, "10.77.0.2"), (socket.AF_INET6, "fd77::2")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.settimeout(20)
    s.connect((address, 7))
    for segment, length in ((1000, 29500), (1, 64), (1400, 64400), (333, 1000), (1452, 1452), (700, 1400)):
        s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
        data = bytes((at * 31 + (at >> 8)) & 255 for at in range(length))
        s.send(data)
        back = b""
        while len(back) < length:
            piece = s.recv(70000)
            assert len(piece) == min(segment, length - len(back)), (segment, len(piece))
            back += piece
            sent += 1
        assert back == data, segment
print(sent)
`;

const REFUSE = fileURLToPath(new URL("refuse_offloads.py", import.meta.url));
const USO = 0x60;
const ALL = 0x6f;

for (
  const [what, refused, offloads] of [
    ["trains of datagrams that Linux does not cut come in whole, and ours go out as such (USO)", 0, true],
    ["where the kernel refuses trains of datagrams they are cut, and those of TCP stay", USO, true],
    ["where the kernel refuses every offload each packet crosses by itself", ALL, false],
  ] as const
) {
  judge(what, ["root", "tun", "ip", "python3"], async () => {
    using netns = new NetworkNamespace();
    netns.run("ip", "tuntap", "add", "dev", "tor0", "mode", "tun");
    netns.configure("tor0", "10.77.0.1/24");
    netns.run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/tor0/disable_ipv6");
    netns.run("ip", "addr", "add", "fd77::1/64", "dev", "tor0", "nodad");
    const wrap = refused === 0 ? [] : ["python3", REFUSE, String(refused)];
    const [program, ...args] = [...wrap, ...RUN_ON.node, HOST, "tor0", "10.77.0.2/24", "fd77::2/64"];
    const host = netns.start(program!, args);
    const lines = createInterface({ input: host.stdout! })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe("ready");
    const datagrams = Number(netns.run("python3", "-c", ECHO));
    expect(datagrams).toBeGreaterThan(200);
    host.stdin!.write("?\n");
    const told = JSON.parse((await lines.next()).value!);
    const unwanted = Object.keys(told.drops).filter((name) => name !== "Ipv6NotOurs");
    expect(unwanted, "but what routers are asked").toEqual([]);
    host.stdin!.end();
    expect(told.offloads).toBe(offloads);
    if (refused !== 0) expect(told.trains).toBe(false);
    if (told.trains) { // not so in Linux before 6.2
      expect(told.framesIn).toBeLessThan(datagrams / 4);
      expect(told.framesOut).toBeLessThan(datagrams / 4);
    } else expect(told.framesIn).toBeGreaterThanOrEqual(datagrams);
  });
}
