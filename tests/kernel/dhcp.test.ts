import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import type { DhcpLease } from "../../net/dhcp/lease.ts";
import { said } from "../support/said.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { until } from "../support/sink.ts";
import { Capture, WHOLE_BYTES } from "./capture.ts";

const CLIENT = fileURLToPath(new URL("./dhcp_client.ts", import.meta.url));
const NEEDS = ["root", "tun", "ip", "dnsmasq", "ping", "nc", "tcpdump", "tshark"] as const;

type News = { lease?: DhcpLease; lost?: string };

/** A client of ours in a namespace. */
class Client {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(netns: NetworkNamespace, runtime: "node" | "deno", lease?: DhcpLease) {
    const [program, ...args] = RUN_ON[runtime];
    const kept = lease === undefined ? [] : [JSON.stringify(lease)];
    this.#child = netns.start(program!, [...args, CLIENT, "dh0", ...kept]);
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }
  async news(): Promise<News> {
    return JSON.parse((await this.#lines.next()).value);
  }
  say(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }
  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }
}

for (const runtime of ["node", "deno"] as const) {
  describe.concurrent(`dnsmasq configures a host on ${runtime}`, () => {
    judge(
      "discover to release, renewal, restart and conflict, and tshark reads every message",
      NEEDS,
      async () => {
        using folder = new TemporaryFolder();
        using netns = new NetworkNamespace();
        netns.run("ip", "tuntap", "add", "dev", "dh0", "mode", "tap");
        netns.configure("dh0", "10.84.0.1/24");
        const capture = await Capture.start(netns, "dh0", folder.file("dhcp.pcap"), {
          bytes: WHOLE_BYTES,
          checked: ["ip", "udp"],
        });
        const dnsmasq = netns.start("dnsmasq", [
          ...["--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=dh0", "--bind-interfaces"],
          ...["--user=root", `--dhcp-leasefile=${folder.file("leases")}`, "--no-ping"],
          "--dhcp-range=10.84.0.50,10.84.0.60,255.255.255.0,120",
          ...["--dhcp-option=option:router,10.84.0.1", "--dhcp-option=option:dns-server,10.84.0.1,9.9.9.9"],
          ...["--dhcp-option=option:domain-name,example.test", "--dhcp-option=option:mtu,1400"],
          "--dhcp-option=121,10.99.0.0/16,10.84.0.9,0.0.0.0/0,10.84.0.1",
          ...["--dhcp-option=option:T1,4", "--dhcp-option=option:T2,60", "--dhcp-authoritative"],
        ], "pipe");
        await said(dnsmasq.stderr!, /DHCP, IP range/);
        const leases = (): string => readFileSync(folder.file("leases"), "utf8");

        let client = new Client(netns, runtime);
        const { lease } = await client.news();
        expect(lease).toMatchObject({
          prefixLength: 24,
          server: "10.84.0.1",
          routers: ["10.84.0.1"],
          routes: [{ destination: "10.99.0.0/16", gateway: "10.84.0.9" }, {
            destination: "0.0.0.0/0",
            gateway: "10.84.0.1",
          }],
          nameServers: ["10.84.0.1", "9.9.9.9"],
          domain: "example.test",
          mtu: 1400,
        });
        const { address } = lease!;
        expect(address).toMatch(/^10\.84\.0\.(5\d|60)$/);
        expect(netns.run("ping", "-c", "2", "-i", "0.2", address)).toContain(" 0% packet loss");
        expect(netns.run("sh", "-c", `echo hello | nc -N ${address} 7`)).toBe("hello\n");
        await until(() => leases().includes("torpor-test"), "dnsmasq notes the lease");
        const renewed = (await client.news()).lease!; // after 4 s
        expect([renewed.address, renewed.expiresAtMs! > lease!.expiresAtMs!]).toEqual([address, true]);
        expect(netns.run("ping", "-c", "1", address)).toContain(" 0% packet loss");

        await client.end(); // as a crash: the lease was kept
        client = new Client(netns, runtime, renewed);
        expect((await client.news()).lease!.address).toBe(address);
        client.say("release");
        expect(await client.news()).toEqual({ lost: "released" });
        await until(() => !leases().includes(address), "dnsmasq strikes the lease");
        await client.end();

        // Somebody else took the address meanwhile: it is declined, and another one asked for.
        netns.run("ip", "addr", "add", `${address}/24`, "dev", "dh0");
        client = new Client(netns, runtime, renewed);
        const other = (await client.news()).lease!;
        expect(other.address).not.toBe(address);
        await client.end();

        await capture.stop();
        const ours = "eth.src == 02:00:00:00:00:07";
        for (
          const fault of [
            `(dhcp || arp) && (_ws.malformed || _ws.expert.severity >= "Warning")`,
            "(ip.checksum.status == 0 || udp.checksum.status == 0)",
          ]
        ) expect(await capture.lines(`${ours} && ${fault}`)).toEqual([]);
        const types = await capture.lines(`${ours} && dhcp`, "dhcp.option.dhcp");
        // discover, request; renew; reboot, release; reboot, decline, discover, request
        expect(types.slice(0, 3)).toEqual(["1", "3", "3"]);
        expect(types).toContain("7");
        expect(types).toContain("4");
        expect(new Set(types)).toEqual(new Set(["1", "3", "4", "7"]));
      },
    );
  });
}
