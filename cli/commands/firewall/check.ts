import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { linkFor, loadRules } from "../../firewall/rules_file.ts";

const HELP = `\
Reads rules as nft -f takes them, or the JSON that nft -j prints, and says
whether they can be used: the first mistake is printed with its line and
column, or its path. What this firewall does not know is a mistake, never left
out.

  torpor firewall check FILE... [-D NAME=VALUE]... [--json]

  -D NAME=VALUE  a variable for the file, as nft has it
  --json         one object per file: { file, ok, tables, chains, rules, sets }
                 or { file, ok, error, line, column, path }
  --help         print this

  torpor firewall check /etc/nftables.conf

Exit codes: 0 every file can be used, 1 one cannot, 2 a file cannot be read or
the command line is wrong.
`;

/** `torpor firewall check`. */
export const firewallCheck: Command = {
  name: "check",
  summary: "says whether rules can be used, and where not",
  help: HELP,
  run(args: string[], terminal: Terminal): number {
    const { json, positionals, values } = readArguments(args, {
      define: { type: "string", short: "D", multiple: true },
    });
    if (positionals.length === 0) throw new UsageError("which file?");
    const defines = definesOf(values.define);
    let usable = true;
    for (const file of positionals) {
      try {
        const rules = loadRules(file, defines);
        linkFor(rules, []);
        const chains = rules.tables.flatMap((table) => table.chains);
        const counts = {
          tables: rules.tables.length,
          chains: chains.length,
          rules: chains.reduce((sum, chain) => sum + chain.rules.length, 0),
          sets: rules.tables.reduce((sum, table) => sum + table.sets.length, 0),
        };
        const words = Object.entries(counts).map(([what, count]) => `${count} ${what}`).join(", ");
        terminal.out(json ? `${JSON.stringify({ file, ok: true, ...counts })}\n` : `${file}: ${words}\n`);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        usable = false;
        const { message, line, column, path } = error;
        terminal.out(
          json
            ? `${JSON.stringify({ file, ok: false, error: message, line, column, path })}\n`
            : `${file}: ${message.replace(/^Cannot (compile firewall|use) rules: /, "")}\n`,
        );
      }
    }
    return usable ? 0 : EXIT_REFUSED;
  },
};

const EXIT_REFUSED = 1;

/** What the readers and the linker throw for rules. */
function isRefusal(error: unknown): error is Error & { line?: number; column?: number; path?: string } {
  return error instanceof Error && ["FirewallError", "FirewallSyntaxError", "LinkError"].includes(error.name);
}

/** Variables of `-D`. */
export function definesOf(words: readonly string[] | undefined): Record<string, string> {
  return Object.fromEntries((words ?? []).map((word) => {
    const parts = /^([A-Za-z_]\w*)=(.+)$/.exec(word);
    if (parts === null) throw new UsageError(`-D "${word}": expected NAME=VALUE`);
    return [parts[1]!, parts[2]!];
  }));
}
