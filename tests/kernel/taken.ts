import { expect } from "vitest";
import { linkFor } from "../../cli/firewall/rules_file.ts";
import { readJsonRules } from "../../net/firewall/nft/json/read.ts";
import type { Ruleset } from "../../net/firewall/nft/schema.ts";
import { printTextRules } from "../../net/firewall/nft/text/print.ts";
import { readTextRules } from "../../net/firewall/nft/text/read.ts";
import { asListed } from "../firewall/listed.ts";
import { loadWithNft } from "../firewall/nft.ts";
import type { NetworkNamespace } from "../support/netns.ts";

/** What a program has loaded into a namespace, as nft lists it. */
export interface Made {
  readonly json: unknown;
  readonly text: string;
}

export function listed(netns: NetworkNamespace): Made {
  return {
    json: JSON.parse(netns.run("nft", "-j", "list", "ruleset")),
    text: netns.run("nft", "list", "ruleset"),
  };
}

/** Reads them in both languages, links them, and lets nft read what we print. */
export function expectTaken({ json, text }: Made): Ruleset {
  const rules = readTextRules(text);
  linkFor(rules, []);
  expect(asListed(readJsonRules(json))).toEqual(asListed(rules));
  const [again] = loadWithNft([printTextRules(rules)]);
  expect(again!.error).toBeUndefined();
  if (again!.error === undefined) expect(asListed(readJsonRules(again!.json))).toEqual(asListed(rules));
  return rules;
}
