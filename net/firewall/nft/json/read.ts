import { FirewallError } from "../../rule.ts";
import { applyCommands, NO_RULES } from "../apply.ts";
import { KnownSets } from "../read/context.ts";
import { checkFamily, checkName } from "../read/names.ts";
import type { At, Source } from "../read/raw.ts";
import type { Command, Ruleset } from "../schema.ts";
import { COMMANDS_MAX } from "../words/limits.ts";
import { arrayOf, Fields, single } from "./fields.ts";
import { readObject, readTarget } from "./object.ts";

const SCHEMA_VERSION = 1;

/** JSON has paths, which say where something is wrong. */
const SOURCE: Source = {
  fail(at: At, message: string): never {
    throw new FirewallError(String(at), message);
  },
};

/**
 * Rules out of the JSON of libnftables-json(5): what `nft -j list ruleset` printed, or commands. They take effect on
 * `before` together or not at all.
 *
 * @throws {FirewallError} At the first thing that is wrong or not supported, with its path in the document.
 * @example
 * ```ts
 * import { readJsonRules } from "@torpor/torpor/net/firewall/nft/json/read.ts";
 * const rules = readJsonRules({ nftables: [{ table: { family: "inet", name: "filter", handle: 1 } }] });
 * console.log(rules.tables[0]!.name); // filter
 * ```
 */
export function readJsonRules(document: unknown, before: Ruleset = NO_RULES): Ruleset {
  return applyCommands(before, readJsonCommands(document, before), (at, message) => {
    throw new FirewallError(at === "" ? "nftables" : at, message);
  });
}

/** The commands of a document; bare objects are added. */
export function readJsonCommands(document: unknown, before: Ruleset = NO_RULES): Command[] {
  const root = new Fields(SOURCE, document, "$");
  const list = arrayOf(SOURCE, root.take("nftables"), "nftables");
  root.end();
  if (list.length > COMMANDS_MAX) {
    SOURCE.fail("nftables", `${list.length} commands, expected at most ${COMMANDS_MAX}`);
  }
  const known = new KnownSets(before);
  const commands: Command[] = [];
  for (const [index, one] of list.entries()) {
    const command = readCommand(one, `nftables[${index}]`, known);
    if (command !== undefined) commands.push(command);
  }
  return commands;
}

function readCommand(value: unknown, at: string, known: KnownSets): Command | undefined {
  const [word, of, path] = single(SOURCE, value, at);
  switch (word) {
    case "metainfo": {
      const fields = new Fields(SOURCE, of, path);
      const version = fields.optionalNumber("json_schema_version") ?? SCHEMA_VERSION;
      if (version > SCHEMA_VERSION) {
        SOURCE.fail(fields.at("json_schema_version"), `Version ${version}, expected ${SCHEMA_VERSION}`);
      }
      return undefined;
    }
    case "add":
    case "create":
    case "insert":
    case "replace": {
      const [kind, object, inner] = single(SOURCE, of, path);
      if ((word === "insert" || word === "replace") && kind !== "rule") {
        SOURCE.fail(inner, `Only rules can be ${word === "insert" ? "inserted" : "replaced"}`);
      }
      const read = readObject(SOURCE, kind, object, inner, known);
      if (word === "replace" && "rule" in read && read.rule.handle === undefined) {
        SOURCE.fail(inner, "Missing handle of the rule to replace");
      }
      return { op: word, object: read, at: inner };
    }
    case "delete":
    case "destroy":
    case "flush": {
      const [kind, target, inner] = single(SOURCE, of, path);
      const flushed = ["ruleset", "table", "chain", "set", "map"];
      if (word === "flush" ? !flushed.includes(kind) : kind === "ruleset") {
        SOURCE.fail(inner, `"${word} ${kind}" is not supported`);
      }
      return { op: word, target: readTarget(SOURCE, kind, target, inner, known), at: inner };
    }
    case "rename": {
      const [kind, object, inner] = single(SOURCE, of, path);
      if (kind !== "chain") SOURCE.fail(inner, "Only chains can be renamed");
      const fields = new Fields(SOURCE, object, inner);
      const name = (field: string): string => checkName(SOURCE, fields.string(field), fields.at(field));
      const chain = {
        family: checkFamily(SOURCE, fields.string("family"), fields.at("family")),
        table: name("table"),
        name: name("name"),
        newname: name("newname"),
      };
      return { op: "rename", chain, at: inner };
    }
    case "list":
    case "reset":
      return SOURCE.fail(path, `"${word}" asks for something; a rule file says what the rules are`);
    default:
      return { op: "add", object: readObject(SOURCE, word, of, path, known), at: path };
  }
}
