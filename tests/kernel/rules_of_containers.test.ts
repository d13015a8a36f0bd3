import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { expect } from "vitest";
import { Prng } from "../../base/random.ts";
import { readJsonRules } from "../../net/firewall/nft/json/read.ts";
import type { Ruleset } from "../../net/firewall/nft/schema.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { type Aim, type Compared, compareRules } from "../firewall/kernel/differential.ts";
import { KernelFirewall } from "../firewall/kernel/kernel_firewall.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { drawSeed } from "../support/seed.ts";
import { kubeProxyRules, type Service } from "./kube_proxy.ts";
import { expectTaken, listed } from "./taken.ts";

// Rules of container hosts: what dockerd writes, and what kube-proxy does. The kernel and we make the same of packets by them.

const SEED = drawSeed("FIREWALL_SEED", 1_000_000);
const TOOLS = ["root", "tun", "ip", "nft", "python3"] as const;
/** Sixty packets each. */
const RUNS = 4;

/** @param met Chains of which each must have counted something, or it was about nothing. */
async function expectSame(
  ruleset: Ruleset,
  met: readonly string[],
  options: Omit<Compared, "side" | "counted"> = {},
): Promise<void> {
  using kernel = await KernelFirewall.start();
  const seen = new Set<string>();
  let same = 0;
  const counted = (counts: Readonly<Record<string, string>>): void => {
    for (const [place, count] of Object.entries(counts)) if (!/^0 /.test(count)) seen.add(place);
  };
  const compared = { ...options, counted };
  for (let run = 0; run < RUNS; run++) {
    const outcome = await compareRules(new Prng(SEED + run), ruleset, kernel, { side: "stack", ...compared });
    if (outcome.kind === "drawn") continue; // masqueraded ports are each one's own
    expect(outcome, `FIREWALL_SEED=${SEED + run}`).toEqual({ kind: "same" });
    same++;
  }
  expect(same).toBeGreaterThan(0);
  for (const place of met) expect([...seen].some((each) => each.startsWith(place)), place).toBe(true);
}

const PUBLISHED: readonly Aim[] = [
  { protocol: "tcp", destination: "10.1.0.1", port: 8_080 },
  { protocol: "udp", destination: "10.1.0.1", port: 53 },
  { protocol: "tcp", destination: "10.2.0.1", port: 80 },
];
const DOCKER_MET = [
  "ip nat DOCKER rule 3",
  "ip nat DOCKER rule 4",
  "ip filter DOCKER rule 1",
  "ip filter DOCKER rule 2",
];

/** Starts a daemon with two containers, of which one has two published ports, and a second network, and keeps its rules. */
const DOCKER = (folder: string, netns: string): string =>
  `cd ${folder} && nsenter --net=/run/netns/${netns} unshare -m sh -c '
  dockerd --data-root ${folder}/root --exec-root ${folder}/exec --pidfile ${folder}/pid -H unix://${folder}/sock \\
    --storage-driver vfs > log 2>&1 & d=$!
  export DOCKER_HOST=unix://${folder}/sock
  while kill -0 $d && ! docker network ls > /dev/null 2>&1; do sleep 0.1; done
  docker network create --subnet 172.30.0.0/16 app &&
    tar c -C image . | docker import - box &&
    docker run -d --name web -p 8080:80 -p 53:53/udp box /bin/busybox sleep 600 &&
    iptables-nft-save > saved && nft -j list ruleset > xt.json
  docker kill web; kill $d; wait $d
  ' > out 2>&1`;

judge(
  "Docker's rules are refused at iptables' own extensions, and taken as iptables translates them: the kernel decides the same",
  [
    ...TOOLS,
    "dockerd",
    "busybox",
    "iptables-restore-translate",
  ],
  async () => {
    using folder = new TemporaryFolder();
    mkdirSync(folder.file("image/bin"), { recursive: true });
    cpSync("/bin/busybox", folder.file("image/bin/busybox"));
    writeFileSync(folder.file("saved"), "");
    using netns = new NetworkNamespace();
    // In its network alone: "ip netns exec" would hide the control groups.
    await promisify(execFile)("sh", ["-c", DOCKER(folder.file("."), netns.name)]);
    const saved = readFileSync(folder.file("saved"), "utf8");
    expect(saved, readFileSync(folder.file("out"), "utf8")).toContain("--to-destination 172.17.0.2:80");
    const { nftables } = JSON.parse(readFileSync(folder.file("xt.json"), "utf8"));
    expect(() => readJsonRules({ nftables })).toThrow(/"xt" (is|are) not supported/);
    netns.run("nft", "flush", "ruleset");
    writeFileSync(
      folder.file("translated"),
      netns.run("iptables-restore-translate", "-f", folder.file("saved")),
    );
    netns.run("nft", "-f", folder.file("translated"));
    const made = listed(netns);
    expectTaken(made);
    // As if its bridge were where the judged namespace forwards to.
    const there = made.text.replaceAll("docker0", "eth1").replaceAll(/br-[0-9a-f]+/g, "none0")
      .replaceAll("172.17.", "10.2.").replaceAll("10.2.0.2", "10.2.0.1");
    expect(there).toContain("dnat to 10.2.0.1:80");
    await expectSame(readTextRules(there), DOCKER_MET, { aims: PUBLISHED });
  },
);

const SERVICES: readonly Service[] = [
  { name: "a/web", protocol: "tcp", port: 80, clusterIp: "10.96.0.1", endpoints: [["10.2.0.1", 8_080]] },
  {
    name: "a/dns",
    protocol: "udp",
    port: 53,
    clusterIp: "10.96.0.2",
    endpoints: [["10.2.200.9", 53]],
    sticky: true,
  },
  {
    name: "b/open",
    protocol: "tcp",
    port: 443,
    clusterIp: "10.96.0.3",
    externalIps: ["10.97.0.1"],
    nodePort: 1_000,
    sources: ["10.1.0.0/24"],
    endpoints: [["10.2.200.9", 443]],
    sticky: true,
  },
  {
    name: "b/none",
    protocol: "tcp",
    port: 81,
    clusterIp: "10.96.0.4",
    externalIps: ["10.97.0.2"],
    nodePort: 1_023,
    endpoints: [],
  },
];

/** The same service behind more endpoints: which one is drawn is each one's own affair. */
const MANY: Service = {
  name: "c/many",
  protocol: "tcp",
  port: 22,
  clusterIp: "10.96.0.5",
  endpoints: Array.from({ length: 200 }, (_, at) => [`10.2.1.${at + 1}`, 22] as const),
  sticky: true,
};

judge(
  "kube-proxy's rules of its nftables mode are taken, and the kernel decides the same",
  [...TOOLS],
  async () => {
    const around = { pods: "10.2.0.0/16", node: "10.1.0.1", clusterIps: "10.96.0.0/16" };
    using netns = new NetworkNamespace();
    using folder = new TemporaryFolder();
    writeFileSync(folder.file("rules.nft"), kubeProxyRules("ip", [...SERVICES, MANY], around));
    netns.run("nft", "-f", folder.file("rules.nft"));
    expectTaken(listed(netns));
    const met = SERVICES.flatMap(({ name, protocol, port, endpoints }) =>
      endpoints.map(([to, at]) => `ip kube-proxy endpoint-${name}/${protocol}/p${port}__${to}/${at} `)
    );
    const aims = SERVICES.flatMap(({ protocol, port, clusterIp, externalIps = [], nodePort }): Aim[] => [
      ...[clusterIp, ...externalIps].map((destination) => ({ protocol, destination, port })),
      ...nodePort === undefined ? [] : [{ protocol, destination: "10.1.0.1", port: nodePort }],
    ]);
    const nowhere: Aim = { protocol: "tcp", destination: "10.96.0.9", port: 80 };
    const rules = readTextRules(kubeProxyRules("ip", SERVICES, around));
    await expectSame(rules, met, { aims: [...aims, nowhere] });
  },
);
