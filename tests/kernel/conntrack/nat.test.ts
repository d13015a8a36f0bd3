import type { ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { NetworkNamespace } from "../../support/netns.ts";
import { RUN_ON } from "../../support/runtimes.ts";

const ROUTER = fileURLToPath(new URL("nat_router.ts", import.meta.url));
const PEERS = fileURLToPath(new URL("peers.py", import.meta.url));
const SERVER = "10.82.0.2";
const RULES = `table ip nat {
  chain pre {
    type nat hook prerouting priority dstnat;
    iifname "lan" tcp dport 8080 dnat to ${SERVER}:8000
  }
  chain post {
    type nat hook postrouting priority srcnat;
    oifname "wan" masquerade
  }
  chain in {
    type nat hook input priority 100;
    iifname "lan" meta l4proto { tcp, udp } th dport 7777 snat to 10.81.0.99
  }
}
table inet filter {
  chain pass {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct state new iifname "lan" oifname "wan" accept
  }
}
`;

function linesOf(child: ChildProcess): () => Promise<string> {
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return async () => (await lines.next()).value;
}

/** What clients on the near side hear, and what the server sees of them: it knows no way to them but the router. */
async function flows(near: NetworkNamespace, far: NetworkNamespace): Promise<string[]> {
  const server = far.start("python3", [PEERS, "server", "8000"]);
  expect(await linesOf(server)()).toBe("open");
  const ask = (...args: string[]): string => near.run("python3", PEERS, ...args).trim();
  const heard = [
    ask("tcp", SERVER, "8000", "40001"),
    ask("tcp", "10.81.0.1", "8080", "40002"), // redirected to the server
    ask("udp", SERVER, "8000", "40003"),
    ask("tcp", "10.81.0.1", "7777", "40006"), // the router's own, which takes it for another's
    ask("udp", "10.81.0.1", "7777", "40007"),
    ask("udp", SERVER, "9", "40004"), // nobody there: an ICMP error that quotes what left
    near.run("ping", "-e", "77", "-c", "1", SERVER).includes(" 0% packet loss") ? "pong" : "",
    /pmtu 1400[^]*reached/.test(near.run("tracepath", "-n", SERVER)) ? "pmtu 1400" : "",
  ];
  try {
    far.run("ping", "-c", "1", "-W", "1", "10.81.0.2");
    heard.push("let in");
  } catch {
    heard.push("kept out");
  }
  return heard;
}

/** Flows of fixed ports, without what time makes of them. */
function comparable(lines: readonly string[]): string[] {
  return lines.filter((line) => /=4000\d|id=77/.test(line)).map((line) => {
    const words = line.split(/ +/).filter((word) => word !== "" && !word.startsWith("use="));
    return words.toSpliced(2, 1).join(" ");
  }).sort();
}

const EXPECTED = [
  "10.82.0.1:40001",
  "10.82.0.1:40002",
  "10.82.0.1:40003",
  "10.81.0.99:40006",
  "10.81.0.99:40007",
  "refused",
  "pong",
  "pmtu 1400",
  "kept out",
];

judge(
  "a masquerading router between Linux hosts: Linux with these rules, and we with the same, and through kill -9",
  ["root", "tun", "ip", "nft", "conntrack", "ping", "tracepath", "python3"],
  async () => {
    using folder = new TemporaryFolder();
    const rules = folder.file("rules.nft");
    writeFileSync(rules, RULES);
    let theirs: string[];
    {
      using near = new NetworkNamespace();
      using middle = new NetworkNamespace();
      using far = new NetworkNamespace();
      for (const [name, peer] of [["lan", near], ["wan", far]] as const) {
        middle.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", peer.name);
      }
      near.configure("eth0", "10.81.0.2/24");
      far.configure("eth0", `${SERVER}/24`, 1400);
      middle.configure("lan", "10.81.0.1/24");
      middle.configure("wan", "10.82.0.1/24", 1400);
      near.run("ip", "route", "add", "default", "via", "10.81.0.1");
      middle.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward");
      middle.run("nft", "-f", rules);
      expect(await linesOf(middle.start("python3", [PEERS, "server", "7777"]))()).toBe("open");
      expect(await flows(near, far)).toEqual(EXPECTED);
      theirs = comparable(middle.run("conntrack", "-L").split("\n"));
    }
    using near = new NetworkNamespace();
    using far = new NetworkNamespace();
    for (const name of ["lan", "wan"]) near.run("ip", "tuntap", "add", "dev", name, "mode", "tun");
    near.configure("lan", "10.81.0.2/24");
    near.run("ip", "route", "add", "default", "via", "10.81.0.1");
    const start = async (): Promise<{ router: ChildProcess; line: () => Promise<string> }> => {
      const [program, ...args] = RUN_ON.node;
      const router = near.start(program!, [...args, ROUTER, rules, folder.file("store")]);
      const line = linesOf(router);
      expect(await line()).toBe("ready");
      near.run("ip", "link", "set", "wan", "netns", far.name); // the router keeps its descriptor
      far.configure("wan", `${SERVER}/24`, 1400);
      return { router, line };
    };
    let { router, line } = await start();
    expect(await flows(near, far)).toEqual(EXPECTED);
    router.stdin!.write("list\n");
    expect(comparable(JSON.parse(await line()))).toEqual(theirs);
    expect(theirs.length).toBeGreaterThan(3);

    const client = near.start("python3", [PEERS, "stay", SERVER, "8000", "40005"]);
    const said = linesOf(client);
    expect(await said()).toBe("10.82.0.1:40005");
    router.stdin!.write("kept?\n");
    expect(await line()).toBe("kept");
    const gone = new Promise((resolve) => void router.once("exit", resolve));
    router.kill("SIGKILL");
    await gone;
    far.run("ip", "link", "set", "wan", "netns", near.name);
    ({ router, line } = await start());
    client.stdin!.write("still there?\n");
    expect(await said()).toBe("still there?");
  },
);
