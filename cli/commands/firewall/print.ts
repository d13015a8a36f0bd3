import { printJsonRules } from "../../../net/firewall/nft/json/print.ts";
import { printTextRules } from "../../../net/firewall/nft/text/print.ts";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { loadRules } from "../../firewall/rules_file.ts";
import { definesOf } from "./check.ts";

const HELP = `\
Prints rules as nft lists them: variables and includes filled in, words of
ports as numbers, sets in order. What is printed loads into nft, and here
again.

  torpor firewall print FILE [-D NAME=VALUE]... [--json]

  -D NAME=VALUE  a variable for the file, as nft has it
  --json         as nft -j list ruleset prints them, a line
  --help         print this

  torpor firewall print router.nft --json | nft -j -f -

Exit codes: 0 printed, 2 the file cannot be read or used, or the command line
is wrong.
`;

/** `torpor firewall print`. */
export const firewallPrint: Command = {
  name: "print",
  summary: "prints rules as nft lists them, as text or JSON",
  help: HELP,
  run(args: string[], terminal: Terminal): number {
    const { json, positionals, values } = readArguments(args, {
      define: { type: "string", short: "D", multiple: true },
    });
    if (positionals.length !== 1) throw new UsageError("which file?");
    const rules = loadRules(positionals[0]!, definesOf(values.define));
    terminal.out(json ? `${JSON.stringify(printJsonRules(rules))}\n` : printTextRules(rules));
    return 0;
  },
};
