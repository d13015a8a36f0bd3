import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { metricsText } from "../../checkpoint/metrics.ts";
import { Firewall } from "../../net/firewall/firewall.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { judge } from "../support/judge.ts";
import { sleepyPair } from "../dropin/world.ts";

/** Value of a sample by its whole name. */
function sample(page: string, name: string): number {
  const line = page.split("\n").find((each) => each.startsWith(`${name} `));
  expect(line, name).toBeDefined();
  return Number(line!.slice(name.length + 1));
}

async function busyPage(): Promise<string> {
  const { server, client, sleep } = sleepyPair();
  const rules = [{ protocol: "tcp" as const, destinationPort: 7, action: "accept" as const }];
  server.stack.firewall = new Firewall({ rules }, ["net0"]);
  server.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
  const conn = await client.connect({ hostname: "10.0.0.1", port: 7 });
  for (let round = 0; round < 2; round++) {
    await conn.write(Uint8Array.of(1, 2, 3));
    await conn.read(new Uint8Array(3));
    await sleep();
  }
  await expect(client.connect({ hostname: "10.0.0.1", port: 81 })).rejects.toThrow("refused");
  return metricsText(server);
}

test("the page says what has happened", async () => {
  const page = await busyPage();
  // An ACK that was still owed when it was put to sleep may have woken it again.
  const [awake, asleep] = ["awake", "asleep"].map((state) =>
    sample(page, `torpor_connections{state="${state}"}`)
  );
  expect(awake! + asleep!).toBe(1);
  expect(sample(page, "torpor_restores_total")).toBeGreaterThanOrEqual(1);
  expect(sample(page, "torpor_suspends_total")).toBe(sample(page, "torpor_restores_total") + asleep!);
  expect(sample(page, 'torpor_drops_total{reason="TcpNoListener"}')).toBe(1);
  expect(sample(page, 'torpor_link_frames_total{interface="net0",direction="in"}')).toBeGreaterThan(5);
  expect(sample(page, "torpor_store_records")).toBe(asleep!);
  expect(sample(page, 'torpor_firewall_packets_total{rule="0"}')).toBeGreaterThan(0);
});

test("what counters of nftables rules count, and what rules log, is on the page", async () => {
  const { server, client } = sleepyPair();
  server.setRules(readTextRules(`table inet web {
    counter all { }
    chain input {
      type filter hook input priority 0;
      counter name "all"
      ct state new tcp dport 7 log prefix "new: " counter accept comment "dials"
    }
  }`));
  server.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
  const conn = await client.connect({ hostname: "10.0.0.1", port: 7 });
  await conn.write(Uint8Array.of(1));
  await conn.read(new Uint8Array(1));
  const page = metricsText(server);
  expect(sample(page, 'torpor_firewall_packets_total{rule="inet web input 1 (dials)"}')).toBe(1);
  expect(sample(page, 'torpor_firewall_bytes_total{rule="inet web input 1 (dials)"}')).toBe(60);
  expect(sample(page, 'torpor_firewall_packets_total{rule="inet web counter all"}')).toBeGreaterThan(1);
  expect(sample(page, 'torpor_firewall_logs_total{prefix="new: "}')).toBe(1);
  expect(sample(page, "torpor_conntrack_flows")).toBe(1);
});

judge("a client of Prometheus reads every line, and each family has its type and its help", [
  "/usr/bin/python3",
], async () => {
  const page = await busyPage();
  const script = `
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.type, bool(family.documentation), sample.name, sample.value)
`;
  const read = execFileSync("/usr/bin/python3", ["-c", script], { input: page, encoding: "utf8" }).trim()
    .split("\n");
  const samples = page.trim().split("\n").filter((line) => !line.startsWith("#"));
  expect(read.length).toBe(samples.length);
  for (const line of read) expect(line).toMatch(/^(gauge|counter|histogram) True torpor_\w+ [0-9.e+-]+$/);
  expect(read.filter((line) => /_total /.test(line)).every((line) => line.startsWith("counter"))).toBe(true);
});

judge("promtool has nothing to say against the page", ["promtool"], async () => {
  const page = await busyPage();
  expect(execFileSync("promtool", ["check", "metrics"], { input: page, encoding: "utf8", stdio: "pipe" }))
    .toBe("");
});

test("wakes are counted by reason, and histograms count every suspend and restore", async () => {
  const page = await busyPage();
  const wakes = ["packet", "timer", "application"].map((reason) =>
    sample(page, `torpor_wakes_total{reason="${reason}"}`)
  );
  expect(wakes.reduce((sum, count) => sum + count)).toBe(sample(page, "torpor_restores_total"));
  expect(wakes[0]).toBeGreaterThanOrEqual(1);
  for (const what of ["suspend", "restore"]) {
    const count = sample(page, `torpor_${what}s_total`);
    expect(sample(page, `torpor_${what}_duration_seconds_count`)).toBe(count);
    expect(sample(page, `torpor_${what}_duration_seconds_bucket{le="+Inf"}`)).toBe(count);
  }
});
