import { expect, test } from "vitest";
import { readJsonRules } from "../../net/firewall/nft/json/read.ts";
import { printTextRules } from "../../net/firewall/nft/text/print.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";

const BEFORE = readTextRules(`table ip t {
  set s { type ipv4_addr; elements = { 10.0.0.1 }; }
  chain a { accept; }
  chain b { jump a; }
}`);

test("a file that fails anywhere changes nothing, and says at which command", () => {
  for (
    const [text, line, message] of [
      ["add rule ip t a accept\nadd rule ip t nowhere accept", 2, /no chain "nowhere"/],
      ["add element ip t s { 10.0.0.2 }\ncreate element ip t s { 10.0.0.2 }", 2, /has this element already/],
      ["delete element ip t s { 10.0.0.9 }", 1, /does not have/],
      ["delete chain ip t a", 1, /./],
      ["add rule ip t a jump b", 1, /./],
      ["add rule ip t a ip saddr @t", 1, /no set "t"/],
      ["add rule ip t a tcp dport @s", 1, /keys of type ipv4_addr, not inet_service/],
      ["create table ip t", 1, /already/],
      ["add set ip t s { type inet_service; }", 1, /of another type/],
      ["insert rule ip t a index 9 accept", 1, /no rule with index 9/],
      ["add chain ip t i { type nat hook forward priority 0; }", 1, /has no hook forward/],
      ["list ruleset", 1, /asks for something/],
    ] as const
  ) {
    const before = printTextRules(BEFORE);
    let error: unknown;
    try {
      readTextRules(text, { before: BEFORE, file: "f" });
    } catch (thrown) {
      error = thrown;
    }
    expect(error, text).toMatchObject({ message: expect.stringMatching(message) });
    const { path } = error as { path: string };
    if (path !== "f") expect(path, text).toMatch(new RegExp(`^f:${line}:`));
    expect(printTextRules(BEFORE)).toBe(before);
  }
});

test("destroy and flush forgive what is not there, delete does not; a handle names a rule of a listing", () => {
  readTextRules("destroy table ip nowhere\ndestroy chain ip t nowhere\ndestroy set ip nowhere s", {
    before: BEFORE,
  });
  expect(() => readTextRules("delete table ip nowhere")).toThrow(/no table ip "nowhere"/);
  const listed = readJsonRules({
    nftables: [
      { table: { family: "ip", name: "t" } },
      { chain: { family: "ip", table: "t", name: "c" } },
      { rule: { family: "ip", table: "t", chain: "c", handle: 5, expr: [{ accept: null }] } },
      { rule: { family: "ip", table: "t", chain: "c", handle: 6, expr: [{ drop: null }] } },
    ],
  });
  const changed = readTextRules("replace rule ip t c handle 5 return\ninsert rule ip t c handle 6 counter", {
    before: listed,
  });
  expect(printTextRules(changed)).toContain("return\n\t\tcounter packets 0 bytes 0\n\t\tdrop");
  const deleted = readJsonRules({
    nftables: [{ delete: { rule: { family: "ip", table: "t", chain: "c", handle: 6 } } }],
  }, listed);
  expect(deleted.tables[0]!.chains[0]!.rules).toHaveLength(1);
});

test("a chain that is renamed is still jumped to", () => {
  const text = "add map ip t m { type mark : verdict; elements = { 1 : goto a }; }\nrename chain ip t a z";
  const printed = printTextRules(readTextRules(text, { before: BEFORE }));
  expect(printed).toContain("jump z");
  expect(printed).toContain("goto z");
});

test("thousands of commands that each add an element take time with their number, not its square", () => {
  const count = 5_000; // a square would take a minute
  const lines = Array.from(
    { length: count },
    (_, at) => `add element ip t s { 11.${at >> 16}.${(at >> 8) & 255}.${at & 255} }`,
  );
  const { tables } = readTextRules(lines.join("\n"), { before: BEFORE });
  expect(tables[0]!.sets[0]!.elem).toHaveLength(count + 1);
});
