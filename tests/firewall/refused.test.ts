import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readJsonCommands } from "../../net/firewall/nft/json/read.ts";
import { linkRules } from "../../net/firewall/nft/link.ts";
import { readTextCommands, readTextRules } from "../../net/firewall/nft/text/read.ts";

/** What is wrong in one place each, and what is said of it. */
const REFUSED = JSON.parse(readFileSync(new URL("./refused.json", import.meta.url), "utf8")) as readonly {
  readonly kind: "rules" | "commands" | "json";
  readonly source: unknown;
  readonly says: string;
}[];
const READ = {
  rules: (source: unknown) => linkRules(readTextRules(source as string), ["tun0"]),
  commands: (source: unknown) => readTextCommands(source as string),
  json: readJsonCommands,
};

test("rules that cannot be are refused at their place, with what was expected there", () => {
  const wrong: string[] = [];
  for (const { kind, source, says } of REFUSED) {
    let said = "nothing";
    try {
      READ[kind](source);
    } catch (error) {
      said = (error as Error).message.split("\n")[0]!;
    }
    if (said !== says) wrong.push(`${JSON.stringify(source)}: "${said}", not "${says}"`);
  }
  expect(wrong).toEqual([]);
});
