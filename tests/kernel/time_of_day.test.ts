import process from "node:process";
import { expect, test } from "vitest";
import { Slab } from "../../base/slab.ts";
import { Hook } from "../../net/firewall/conntrack/state.ts";
import { NftPacket } from "../../net/firewall/nft/packet.ts";
import { NftRules } from "../../net/firewall/nft/rules.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { KernelFirewall, OWN } from "../firewall/kernel/kernel_firewall.ts";
import { judge } from "../support/judge.ts";
import { datagramTo } from "../firewall/datagram.ts";

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const RULES = `table ip t {
  chain c {
    type filter hook input priority filter; policy accept;
    meta hour < "12:00" counter
    meta hour "12:00"-"23:59" counter
    meta time > "2026-01-01 00:00:00" counter
    meta time "1970-01-01 00:00:00"-"1971-01-01 00:00:00" counter
${DAYS.map((day) => `    meta day "${day}" counter\n`).join("")}  }
}`;

/** Which of the rules count a packet at a time. */
function counted(nowMs: number): string[] {
  const rules = new NftRules(readTextRules(RULES), ["tun0"], {}, nowMs);
  const packet = new NftPacket();
  for (let again = 0; again < 3; again++) { // nothing of it is remembered for the flow
    const bytes = datagramTo(OWN[0], 9);
    packet.moveTo(new Slab(bytes), 0, bytes.length, nowMs + (again < 2 ? 0 : 12 * 3_600_000));
    packet.iif = 0;
    rules.pass(packet, Hook.input);
    expect(rules.explain(packet, Hook.input).steps.filter(({ matched, rule }) => matched && rule).length)
      .toBe(3);
  }
  return countersOf(rules.list(nowMs).tables[0]!.chains[0]!.rules.map(({ expr }) => expr));
}

function countersOf(rules: readonly (readonly object[])[]): string[] {
  return rules.map((expr) => {
    const counter = expr.find((each) => "counter" in each) as { counter: { packets: number } };
    return `${counter.counter.packets}`;
  });
}

test("hours, days and dates are those of UTC, and of each packet", () => {
  // A Sunday at 11:30 twice, then at 23:30.
  expect(counted(Date.UTC(2026, 10, 29, 11, 30))).toEqual([
    "2",
    "1",
    "3",
    "0",
    "3",
    "0",
    "0",
    "0",
    "0",
    "0",
    "0",
  ]);
  // A Thursday at 18:00 twice, then Friday at 6:00.
  expect(counted(Date.UTC(1970, 0, 1, 18))).toEqual(["1", "2", "0", "3", "0", "0", "0", "0", "2", "1", "0"]);
});

judge("the kernel's day, hour and date are ours", ["root", "tun", "ip", "nft", "python3"], async () => {
  process.env["TZ"] = "UTC"; // nft takes hours as its own
  using kernel = await KernelFirewall.start();
  const halfDay = (): number => Math.floor(Date.now() / 1_000 / 43_200);
  for (let before = -1; before !== halfDay();) { // once more where noon or midnight comes between
    before = halfDay();
    expect(kernel.loadText(RULES)).toBe(undefined);
    await kernel.inject([datagramTo(OWN[0], 9)]);
  }
  const rules = (kernel.list() as { nftables: { rule?: { expr: object[] } }[] }).nftables.flatMap((
    { rule },
  ) => rule === undefined ? [] : [rule.expr]);
  const now = new Date();
  const expected = [
    now.getUTCHours() < 12,
    now.getUTCHours() >= 12,
    true,
    false,
    ...DAYS.map((_, day) => day === now.getUTCDay()),
  ];
  expect(countersOf(rules)).toEqual(expected.map((holds) => holds ? "1" : "0"));
});
