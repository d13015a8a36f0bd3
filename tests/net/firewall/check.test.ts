import { expect, test } from "vitest";
import {
  COMMENT_CHARACTERS_MAX,
  INTERFACES_MAX,
  LIST_MAX,
  RANGES_MAX,
  RULES_MAX,
} from "../../../net/firewall/check.ts";
import { checkRules } from "../../../net/firewall/check.ts";
import { CompiledRules } from "../../../net/firewall/compile.ts";
import { Firewall, FirewallError, type FirewallRules, type Rule } from "../../../net/firewall/mod.ts";
import { formatIpv4 } from "../../../net/wire/address.ts";

function errorOf(make: () => unknown): FirewallError {
  try {
    make();
  } catch (error) {
    expect(error).toBeInstanceOf(FirewallError);
    return error as FirewallError;
  }
  throw new Error("Nothing was thrown");
}

test("every mistake is named with its place, what is there and what was expected", () => {
  const { input, at } = { input: (rule: object) => ({ rules: [{ action: "drop" }, rule] }), at: "rules[1]" };
  const cases: [rules: unknown, path: string, message: string][] = [
    [undefined, "rules", "expected an object"],
    [{}, "rules", "expected a list of rules"],
    [{ rules: [], tables: [] }, "tables", "Unknown field, expected one of policy, rules"],
    [{ rules: [], policy: [] }, "policy", "expected an object"],
    [{ rules: [], "": 1 }, '""', "Unknown field, expected one of policy, rules"],
    [{ rules: [], policy: { inptu: "drop" } }, "policy.inptu", "Unknown field, expected one of input"],
    [
      { rules: [], policy: { input: "reject" } },
      "policy.input",
      'Found "reject", expected one of "accept", "drop"',
    ],
    [{ rules: [7] }, "rules[0]", "Found 7, expected an object"],
    [input({}), `${at}.action`, 'Found undefined, expected one of "accept", "drop", "reject"'],
    [input({ action: "toString" }), `${at}.action`, 'Found "toString"'],
    [input({ action: "drop", port: 80, comment: "web" }), `${at}.port`, 'Unknown field in the rule "web"'],
    [input({ action: "drop", source: "10.0.0/8" }), `${at}.source`, 'expected a prefix like "10.0.0.0/8"'],
    [input({ action: "drop", source: "10.0.0.0/33" }), `${at}.source`, 'Found "10.0.0.0/33"'],
    [input({ action: "drop", source: 10 }), `${at}.source`, "Found 10"],
    [
      input({ action: "drop", destination: ["1.1.1.1", "10.0.0.1/8"], comment: "x" }),
      `${at}.destination[1]`,
      '"10.0.0.1/8" has bits beyond its length in the rule "x", expected "10.0.0.0/8" or "10.0.0.1"',
    ],
    [input({ action: "drop", source: [] }), `${at}.source`, "A list of 0"],
    [input({ action: "drop", sourcePort: 65_536 }), `${at}.sourcePort`, "expected a port from 0 to 65535"],
    [input({ action: "drop", sourcePort: "65536" }), `${at}.sourcePort`, 'Found "65536"'],
    [input({ action: "drop", sourcePort: -1 }), `${at}.sourcePort`, "Found -1"],
    [input({ action: "drop", sourcePort: 1.5 }), `${at}.sourcePort`, "Found 1.5"],
    [input({ action: "drop", destinationPort: "9-8" }), `${at}.destinationPort`, 'Found "9-8"'],
    [input({ action: "drop", destinationPort: "1-2-3" }), `${at}.destinationPort`, 'Found "1-2-3"'],
    [input({ action: "drop", icmpType: 256 }), `${at}.icmpType`, "expected an ICMP type from 0 to 255"],
    [input({ action: "drop", icmpType: 8, sourcePort: 1 }), `${at}.icmpType`, "No packet has both"],
    [
      input({ action: "drop", protocol: "icmp", sourcePort: 1 }),
      `${at}.sourcePort`,
      'expected protocol "tcp"',
    ],
    [input({ action: "drop", protocol: "tcp", icmpType: 8 }), `${at}.icmpType`, 'expected protocol "icmp"'],
    [input({ action: "drop", protocol: "sctp" }), `${at}.protocol`, '"tcp", "udp", "icmp", "any"'],
    [input({ action: "drop", direction: "in" }), `${at}.direction`, '"input", "output", "forward"'],
    [input({ action: "drop", state: ["new", "old"] }), `${at}.state[1]`, 'Found "old"'],
    [
      input({ action: "drop", interface: "eth7" }),
      `${at}.interface`,
      'No interface "eth7", there are tun0, eth0',
    ],
    [input({ action: "drop", comment: 7 }), `${at}.comment`, "Found 7"],
  ];
  for (const [rules, path, message] of cases) {
    const error = errorOf(() => new Firewall(rules as FirewallRules, ["tun0", "eth0"]));
    expect(error.path, JSON.stringify(rules)).toBe(path);
    expect(error.message).toContain(`Cannot compile firewall rules: ${path}: `);
    expect(error.message).toContain(message);
  }
});

test("a comment of the longest length passes, one more does not", () => {
  const rule = (length: number): Rule => ({ action: "drop", comment: "c".repeat(length) });
  new Firewall({ rules: [rule(COMMENT_CHARACTERS_MAX)] });
  const error = errorOf(() => new Firewall({ rules: [rule(COMMENT_CHARACTERS_MAX + 1)] }));
  expect(error.path).toBe("rules[0].comment");
});

test("a list of the longest length passes, one more does not", () => {
  const rule = (length: number): Rule => ({
    action: "drop",
    source: Array.from({ length }, (_, i) => formatIpv4(2 * i)),
  });
  new Firewall({ rules: [rule(LIST_MAX)] });
  expect(errorOf(() => new Firewall({ rules: [rule(LIST_MAX + 1)] })).path).toBe("rules[0].source");
});

test("as many rules as allowed pass, one more does not", () => {
  const rules = Array.from({ length: RULES_MAX + 1 }, (): Rule => ({ destinationPort: 80, action: "drop" }));
  new Firewall({ rules: rules.slice(1) });
  expect(errorOf(() => new Firewall({ rules })).path).toBe("rules");
});

test("as many ranges as allowed pass, one more does not", () => {
  const full: Rule = {
    action: "drop",
    source: Array.from({ length: LIST_MAX }, (_, i) => formatIpv4(2 * i)),
  };
  const rules = Array<Rule>(RANGES_MAX / LIST_MAX).fill(full);
  checkRules({ rules }, []);
  expect(errorOf(() => checkRules({ rules: [...rules, { action: "drop", icmpType: 1 }] }, [])).path)
    .toBe(`rules[${rules.length}]`);
});

test("as many interfaces as allowed pass, one more does not", () => {
  const names = Array.from({ length: INTERFACES_MAX + 1 }, (_, i) => `eth${i}`);
  new Firewall({ rules: [{ interface: names.slice(1), action: "drop" }] }, names.slice(1));
  expect(errorOf(() => new Firewall({ rules: [] }, names)).path).toBe("interfaces");
});

test("rules that overlap up to the room for classes pass, beyond it they are refused", () => {
  // Port ranges inside each other: 64 rules in 2 words, 1 to 64 of them at once, then all over again.
  const rules = Array.from({ length: 64 }, (_, i): Rule => ({
    destinationPort: `${i}-65535`,
    action: "drop",
  }));
  const checked = checkRules({ rules }, []);
  const compile = (wordsMax: number) => new CompiledRules(checked, 0, wordsMax);
  const needed = 32 * 1 + 32 * 2; // a word for the first 32 sets, two for the others; the full set is the kind's too
  compile(needed);
  const error = errorOf(() => compile(needed - 1));
  expect(error.path).toBe("rules");
  expect(error.message).toContain("expected fewer rules or less overlap");
});
