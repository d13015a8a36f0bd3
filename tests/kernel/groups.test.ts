import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { sleep } from "./kernel_server.ts";

const PEER = fileURLToPath(new URL("./groups_peer.ts", import.meta.url));
const NEEDS = ["root", "tun", "ip", "python3", "tcpdump", "tshark"] as const;
const GROUP = "239.7.7.7";

/** Sends to a group and prints the first answer. */
const TALK = `
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5001))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("${GROUP}") + socket.inet_aton("10.83.0.2"))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.83.0.2"))
s.settimeout(10)
print("ready", flush=True)
for line in sys.stdin:
    if line.startswith("send"):
        s.sendto(line[5:].strip().encode(), ("${GROUP}", 5000))
        print("sent", flush=True)
    elif line.startswith("leave"):
        s.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, socket.inet_aton("${GROUP}") + socket.inet_aton("10.83.0.2"))
        print("left", flush=True)
    elif line.startswith("query"): # an IGMP query of version 2 or 3, as a router would send it
        r = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
        r.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.83.0.2"))
        body = bytes([0x11, 5, 0, 0, 0, 0, 0, 0]) + (bytes([2, 125, 0, 0]) if "3" in line else b"")
        total = sum(struct.unpack("!%dH" % (len(body) // 2), body))
        total = (total & 0xffff) + (total >> 16)
        r.sendto(body[:2] + struct.pack("!H", ~total & 0xffff) + body[4:], ("224.0.0.1", 0))
        print("sent", flush=True)
    else:
        print(s.recv(1000).decode(), flush=True)
`;

/** The same for IPv6, by UDP on the bridge: sends a text to a group. */
const SEND6 = `
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
if ":" in sys.argv[1]:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("br0"))
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.86.0.2"))
s.sendto(sys.argv[2].encode(), (sys.argv[1], 5000))
`;
const GROUP6 = "ff15::7:7";

for (const runtime of ["node", "deno"] as const) {
  describe(`groups on ${runtime} with the Linux kernel`, () => {
    judge(
      "a bridge that snoops IGMPv3 and MLDv2 learns our groups from our reports, keeps them by queries, and forgets them",
      [...NEEDS, "bridge"],
      async () => {
        using folder = new TemporaryFolder();
        using netns = new NetworkNamespace();
        netns.run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "1", "mcast_querier", "1");
        const set = (name: string, value: string): string =>
          netns.run("ip", "link", "set", "br0", "type", "bridge", name, value);
        set("mcast_igmp_version", "3");
        set("mcast_mld_version", "2");
        set("mcast_query_response_interval", "100"); // hundredths of a second
        set("mcast_startup_query_interval", "200");
        set("mcast_startup_query_count", "10");
        netns.run("ip", "tuntap", "add", "dev", "mc1", "mode", "tap");
        netns.run("ip", "link", "set", "mc1", "master", "br0", "up");
        netns.run("ip", "addr", "add", "10.86.0.2/24", "dev", "br0");
        netns.run("ip", "addr", "add", "fd86::2/64", "dev", "br0", "nodad");
        netns.run("ip", "link", "set", "br0", "up");
        const file = folder.file("groups.pcap");
        const tcpdump = netns.start("tcpdump", ["-i", "mc1", "-B", "4096", "-U", "-w", file]);
        const [program, ...args] = RUN_ON[runtime];
        const peer = netns.start(program!, [
          ...args,
          PEER,
          "mc1",
          "10.86.0.1/24",
          "fd86::1/64",
          "fe80::1/64",
        ]);
        const ours = createInterface({ input: peer.stdout! })[Symbol.asyncIterator]();
        const ask = async (line: string): Promise<string> => {
          peer.stdin!.write(`${line}\n`);
          return (await ours.next()).value;
        };
        expect((await ours.next()).value).toBe("ready");
        await sleep(3_000); // the bridge's queries have begun, and its port forwards
        for (const group of [GROUP, GROUP6]) {
          const known = (): boolean =>
            new RegExp(`port mc1 grp ${group} `).test(netns.run("bridge", "mdb", "show", "dev", "br0"));
          expect(known()).toBe(false);
          expect(await ask(`join ${group}`)).toBe("done");
          await sleep(500);
          expect(known()).toBe(true);
          netns.run("python3", "-c", SEND6, group, "hello");
          expect((await ours.next()).value).toMatch(/^(10\.86\.0\.2|::ffff:10\.86\.0\.2|f[de]\S+) hello$/);
          await sleep(4_500); // two queries later it is still there
          expect(known()).toBe(true);
          expect(await ask(`leave ${group}`)).toBe("done");
          await sleep(4_000); // the last member's queries have found nobody
          expect(known()).toBe(false);
        }
        // The group where neighbours look for our address is known without having been asked for.
        expect(netns.run("bridge", "mdb", "show", "dev", "br0")).toMatch(/port mc1 grp ff02::1:ff00:1 /);
        tcpdump.kill("SIGINT");
        await new Promise((resolve) => void tcpdump.once("exit", resolve));
        const read = (filter: string): string[] =>
          netns.run("tshark", "-r", file, "-o", "ip.check_checksum:TRUE", "-Y", filter).split("\n").filter(
            Boolean,
          );
        const mine = "(ip.src == 10.86.0.1 || ipv6.src == fe80::1)";
        expect(read(`${mine} && (igmp.version == 3 || icmpv6.type == 143)`).length).toBeGreaterThan(6);
        expect(read("_ws.malformed || ip.checksum.status == 0 || icmpv6.checksum.status == 0")).toEqual([]);
      },
      90_000,
    );

    judge(
      "datagrams reach members both ways, and tshark reads our reports as IGMPv3, then IGMPv2",
      NEEDS,
      async () => {
        using folder = new TemporaryFolder();
        using netns = new NetworkNamespace();
        netns.run("ip", "tuntap", "add", "dev", "mc0", "mode", "tun");
        netns.configure("mc0", "10.83.0.2/24");
        netns.run("ip", "link", "set", "mc0", "multicast", "on");
        const file = folder.file("groups.pcap");
        const tcpdump = netns.start("tcpdump", [
          "-i",
          "mc0",
          "--immediate-mode",
          "-U",
          "-s",
          "0",
          "-w",
          file,
        ]);
        const [program, ...args] = RUN_ON[runtime];
        const peer = netns.start(program!, [...args, PEER, "mc0", "10.83.0.1/24"]);
        const ours = createInterface({ input: peer.stdout! })[Symbol.asyncIterator]();
        const next = async (from: AsyncIterator<string>): Promise<string> => (await from.next()).value;
        const ask = async (line: string): Promise<string> => {
          peer.stdin!.write(`${line}\n`);
          return await next(ours);
        };
        expect(await next(ours)).toBe("ready");
        const kernel = netns.start("python3", ["-u", "-c", TALK]);
        const theirs = createInterface({ input: kernel.stdout! })[Symbol.asyncIterator]();
        const tell = async (line: string): Promise<string> => {
          kernel.stdin!.write(`${line}\n`);
          return await next(theirs);
        };
        expect(await next(theirs)).toBe("ready");
        await tell("send too-early");
        expect(await ask(`join ${GROUP}`)).toBe("done");
        await tell("send hello");
        expect(await next(ours)).toBe("10.83.0.2 hello");
        expect(await ask(`send ${GROUP} 5001 hello-yourself`)).toBe("done");
        expect(await tell("receive")).toBe("hello-yourself");
        await tell("leave"); // in version 2 the kernel's report would make ours needless
        await tell("query 3");
        await sleep(1_500);
        await tell("query 2");
        await sleep(1_500);
        expect(await ask(`leave ${GROUP}`)).toBe("done");
        await sleep(500);
        tcpdump.kill("SIGINT");
        await new Promise((resolve) => void tcpdump.once("exit", resolve));
        const read = (filter: string, ...fields: string[]): string[] => {
          const show = fields.flatMap((field) => ["-e", field]);
          const format = fields.length === 0 ? [] : ["-T", "fields", ...show];
          const text = netns.run(
            "tshark",
            "-r",
            file,
            "-o",
            "ip.check_checksum:TRUE",
            "-Y",
            filter,
            ...format,
          );
          return text.split("\n").filter((line) => line !== "");
        };
        const mine = "igmp && ip.src == 10.83.0.1";
        expect(read("_ws.malformed || ip.checksum.status == 0 || igmp.checksum.status == 0")).toEqual([]);
        // To exclude nothing, twice; the same as an answer; then what the older router understands.
        const reports = read(mine, "igmp.version", "igmp.type", "igmp.record_type", "ip.dst");
        expect([...new Set(reports)]).toEqual([
          "3\t0x22\t4\t224.0.0.22",
          "3\t0x22\t2\t224.0.0.22",
          `2\t0x16\t\t${GROUP}`,
          "2\t0x17\t\t224.0.0.2",
        ]);
      },
      60_000,
    );
  });
}
