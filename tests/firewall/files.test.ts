import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { printJsonRules } from "../../net/firewall/nft/json/print.ts";
import { readJsonRules } from "../../net/firewall/nft/json/read.ts";
import type { Ruleset } from "../../net/firewall/nft/schema.ts";
import { printTextRules } from "../../net/firewall/nft/text/print.ts";
import { FirewallSyntaxError, readTextRules } from "../../net/firewall/nft/text/read.ts";
import { linkFor } from "../../cli/firewall/rules_file.ts";
import { judge } from "../support/judge.ts";
import { asListed } from "./listed.ts";
import { loadWithNft } from "./nft.ts";

const FOLDER = new URL("files/", import.meta.url);
const FILES = readdirSync(FOLDER).map((name) => ({
  name,
  text: readFileSync(new URL(name, FOLDER), "utf8"),
}));
const LOADED = FILES.filter(({ name }) => !name.startsWith("refused"));

/** Where files that we refuse are refused. */
const REFUSED: Readonly<Record<string, { line: number; column: number; message: RegExp }>> = {
  "refused_iptables.nft": { line: 10, column: 21, message: /"xt" are not supported/ },
  "refused_flowtable.nft": { line: 3, column: 2, message: /"flowtable" is not supported/ },
  "refused_bridge.nft": { line: 1, column: 7, message: /family bridge are not supported/ },
};

function withoutLines(rules: Ruleset): unknown {
  return JSON.parse(JSON.stringify(rules, (key, value) => key === "line" ? undefined : value));
}

test("rule files in the style of routers, servers, containers and clusters load, and print back as they were", () => {
  for (const { name, text } of LOADED) {
    const rules = readTextRules(text, { file: name });
    linkFor(rules, []);
    expect(withoutLines(readTextRules(printTextRules(rules))), name).toEqual(withoutLines(rules));
    expect(withoutLines(readJsonRules(printJsonRules(rules))), name).toEqual(withoutLines(rules));
  }
});

test("files with what we cannot do are refused where it stands", () => {
  expect(FILES.filter(({ name }) => name.startsWith("refused")).map(({ name }) => name).sort()).toEqual(
    Object.keys(REFUSED).sort(),
  );
  for (const [name, { line, column, message }] of Object.entries(REFUSED)) {
    const { text } = FILES.find((file) => file.name === name)!;
    try {
      readTextRules(text, { file: name });
      expect.unreachable(`${name} was taken`);
    } catch (error) {
      expect(error).toBeInstanceOf(FirewallSyntaxError);
      expect(error).toMatchObject({ file: name, line, column, message: expect.stringMatching(message) });
      expect((error as Error).message).toContain(text.split("\n")[line - 1]!.replaceAll("\t", " "));
    }
  }
});

judge("nft loads the same files, and lists what we read", ["root", "ip", "nft"], () => {
  loadWithNft(LOADED.map(({ text }) => text)).forEach((theirs, at) => {
    const { name, text } = LOADED[at]!;
    expect(theirs.error, name).toBeUndefined();
    if (theirs.error !== undefined) return;
    expect(asListed(readJsonRules(theirs.json)), name).toEqual(asListed(readTextRules(text)));
  });
});
