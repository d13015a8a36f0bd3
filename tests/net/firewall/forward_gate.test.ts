import { expect, test } from "vitest";
import { Slab } from "../../../base/slab.ts";
import { Firewall } from "../../../net/firewall/firewall.ts";
import { ForwardGate } from "../../../net/firewall/forward_gate.ts";
import { InputGate } from "../../../net/firewall/gate.ts";
import { Verdict } from "../../../net/firewall/packet.ts";
import type { RuleState } from "../../../net/firewall/rule.ts";
import { Ipv4Record } from "../../../net/wire/ipv4.ts";

const STATES: readonly RuleState[] = ["new", "established", "related", "invalid"];

/** The state in which a packet with these bytes behind its header passes through. */
function stateOf(protocol: number, data: number[], readable = true): RuleState {
  const slab = new Slab(Uint8Array.from([...new Uint8Array(20), ...data, 0xff]));
  const ip = Object.assign(new Ipv4Record(), { protocol, dataStart: 20, dataEnd: 20 + data.length });
  const found = STATES.filter((state) => {
    const input = new InputGate();
    input.firewall = new Firewall({ rules: [{ direction: "forward", state, action: "drop" }] });
    return new ForwardGate(input).judge(ip, slab, 0, readable) === Verdict.Drop;
  });
  expect(found).toHaveLength(1);
  return found[0]!;
}

/** A TCP header up to its flags. */
const tcp = (flags: number): number[] => [0, 1, 0, 2, ...new Uint8Array(9), flags];

test("what passes through is new, established, related or invalid by its own header alone", () => {
  expect(stateOf(6, tcp(0x02))).toBe("new");
  expect(stateOf(6, tcp(0xc2))).toBe("new"); // SYN that asks for ECN
  for (const flags of [0x12, 0x06, 0x10, 0x04, 0x00]) {
    expect(stateOf(6, tcp(flags)), `${flags}`).toBe("established");
  }
  expect(stateOf(6, tcp(0x02).slice(0, 13))).toBe("invalid");
  expect(stateOf(17, [0, 1, 0, 2])).toBe("new");
  expect(stateOf(17, [0, 1, 0])).toBe("invalid");
  for (const type of [3, 4, 5, 11, 12]) expect(stateOf(1, [type]), `${type}`).toBe("related");
  for (const type of [0, 8, 13]) expect(stateOf(1, [type]), `${type}`).toBe("new");
  for (const type of [1, 2, 3, 4, 127]) expect(stateOf(58, [type]), `${type}`).toBe("related");
  for (const type of [128, 135]) expect(stateOf(58, [type]), `${type}`).toBe("new");
  expect(stateOf(1, [])).toBe("new"); // echo reply, as far as anybody can tell
  expect(stateOf(47, [])).toBe("new");
  expect(stateOf(17, [0, 1, 0, 2], false)).toBe("invalid");
});
