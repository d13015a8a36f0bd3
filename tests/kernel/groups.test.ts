import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { until } from "../support/sink.ts";
import { Capture, WHOLE_BYTES } from "./capture.ts";
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
const GROUPS = [GROUP, GROUP6];
/** The bridge asks each second, and forgets who has not answered for so long. */
const FORGET_MS = 5_000;

for (const runtime of ["node", "deno"] as const) {
  describe.concurrent(`groups on ${runtime} with the Linux kernel`, () => {
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
        set("mcast_query_response_interval", "50"); // hundredths of a second
        set("mcast_startup_query_interval", "100");
        set("mcast_query_interval", "100");
        set("mcast_membership_interval", `${FORGET_MS / 10}`);
        netns.run("ip", "tuntap", "add", "dev", "mc1", "mode", "tap");
        netns.run("ip", "link", "set", "mc1", "master", "br0", "up");
        netns.run("ip", "addr", "add", "10.86.0.2/24", "dev", "br0");
        netns.run("ip", "addr", "add", "fd86::2/64", "dev", "br0", "nodad");
        netns.run("ip", "link", "set", "br0", "up");
        const capture = await Capture.start(netns, "mc1", folder.file("groups.pcap"), {
          bytes: WHOLE_BYTES,
          checked: ["ip"],
        });
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
        await until(
          () => netns.run("bridge", "link", "show", "dev", "mc1").includes("state forwarding"),
          "the bridge's port forwards",
        );
        const memberships = (): string => netns.run("bridge", "mdb", "show", "dev", "br0");
        const known = (): boolean[] => {
          const all = memberships();
          return GROUPS.map((group) => all.includes(`port mc1 grp ${group} `));
        };
        expect(known()).toEqual([false, false]);
        for (const group of GROUPS) expect(await ask(`join ${group}`)).toBe("done");
        await until(() => known().every((is) => is), "the bridge knows both groups");
        for (const group of GROUPS) {
          netns.run("python3", "-c", SEND6, group, "hello");
          expect((await ours.next()).value).toMatch(/^(10\.86\.0\.2|::ffff:10\.86\.0\.2|f[de]\S+) hello$/);
        }
        await sleep(1.4 * FORGET_MS); // nobody would be known any more whose answers had not come
        expect(known()).toEqual([true, true]);
        // Who leaves is forgotten because the last member's queries find nobody, and not in the course of time.
        set("mcast_membership_interval", "26000");
        await sleep(2_000);
        for (const group of GROUPS) expect(await ask(`leave ${group}`)).toBe("done");
        await until(() => !known().some((is) => is), "the bridge has forgotten both");
        // The group where neighbours look for our address is known without having been asked for.
        expect(memberships()).toMatch(/port mc1 grp ff02::1:ff00:1 /);
        await capture.stop();
        const mine = "(ip.src == 10.86.0.1 || ipv6.src == fe80::1)";
        expect((await capture.lines(`${mine} && (igmp.version == 3 || icmpv6.type == 143)`)).length)
          .toBeGreaterThan(6);
        expect(
          await capture.lines("_ws.malformed || ip.checksum.status == 0 || icmpv6.checksum.status == 0"),
        ).toEqual([]);
      },
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
        const capture = await Capture.start(netns, "mc0", folder.file("groups.pcap"), {
          bytes: WHOLE_BYTES,
          checked: ["ip"],
        });
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
        const mine = "igmp && ip.src == 10.83.0.1";
        await tell("query 3");
        await capture.until(`${mine} && igmp.record_type == 2`);
        await tell("query 2");
        await capture.until(`${mine} && igmp.version == 2 && igmp.type == 0x16`);
        expect(await ask(`leave ${GROUP}`)).toBe("done");
        await capture.until(`${mine} && igmp.type == 0x17`);
        await capture.stop();
        expect(await capture.lines("_ws.malformed || ip.checksum.status == 0 || igmp.checksum.status == 0"))
          .toEqual([]);
        // To exclude nothing, twice; the same as an answer; then what the older router understands.
        const reports = await capture.lines(mine, "igmp.version", "igmp.type", "igmp.record_type", "ip.dst");
        expect([...new Set(reports)]).toEqual([
          "3\t0x22\t4\t224.0.0.22",
          "3\t0x22\t2\t224.0.0.22",
          `2\t0x16\t\t${GROUP}`,
          "2\t0x17\t\t224.0.0.2",
        ]);
      },
    );
  });
}
