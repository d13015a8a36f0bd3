import { lookup } from "node:dns/promises";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { UntilEnded } from "../../control.ts";
import { type Grants, PermissionBroker } from "../../firewall/broker.ts";
import { ProgramRules } from "../../firewall/program_rules.ts";
import { loadRules } from "../../firewall/rules_file.ts";
import { definesOf } from "./check.ts";

const HELP = `\
Decides by rules what Deno programs may connect to: Deno asks this process
before each connect, fetch, listen and DNS question (its permission broker, an
experiment of Deno's), and the program's error has the text of the rule.

  torpor firewall broker FILE --socket PATH [--allow KIND[=VALUE]]... [options]

  --socket PATH   the unix socket that Deno is told of
  --allow KIND    other things that programs may do, as Deno names them: read,
                  write, env, run, sys, ffi, import, unix; with =VALUE only
                  that one; all is everything. The flags of deno run do not
                  count where there is a broker.
  -D NAME=VALUE   a variable for the file
  --quiet         say nothing of what was decided
  --json          decisions as { pid, permission, value, allowed, reason }
  --help          print this

A connect is judged as its first packet would be, by the output rules; a listen
by the input rules. Deno says neither TCP nor UDP: what rules let out as either
may be used. Of a name all addresses must be let out; sets with a comment like
"dns-names: api.example.com *.example.org" hold what those names resolve to.

  torpor firewall broker egress.nft --socket /tmp/broker --allow read &
  DENO_PERMISSION_BROKER_PATH=/tmp/broker deno run program.ts

Exit codes: 0 it was asked to end, 2 the file cannot be read or used, or the
command line is wrong.
`;

/** `torpor firewall broker`. */
export const firewallBroker: Command = {
  name: "broker",
  summary: "decides by rules what Deno programs may connect to",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals, values } = readArguments(args, {
      socket: { type: "string" },
      allow: { type: "string", multiple: true },
      quiet: { type: "boolean", default: false },
      define: { type: "string", short: "D", multiple: true },
    });
    const [file, more] = positionals;
    if (file === undefined || more !== undefined) throw new UsageError("which file?");
    const { socket } = values;
    if (socket === undefined) throw new UsageError("--socket: which unix socket?");
    const addressesOf = async (name: string): Promise<string[]> =>
      (await lookup(name, { all: true })).map(({ address }) => address);
    const rules = new ProgramRules(loadRules(file, definesOf(values.define)), addressesOf, Date.now);
    const broker = new PermissionBroker(rules, grantsOf(values.allow ?? []), (decision) => {
      if (values.quiet) return;
      const { permission, value, allowed, reason } = decision;
      terminal.out(
        json
          ? `${JSON.stringify(decision)}\n`
          : `${allowed ? "allowed" : "refused"} ${permission} ${value ?? "everything"}: ${reason}\n`,
      );
    });
    await broker.listen(socket);
    terminal.err(`DENO_PERMISSION_BROKER_PATH=${socket}\n`);
    await new Promise<void>((resolve) => {
      new UntilEnded(resolve); // until the process ends, which is soon
    });
    await broker.close(socket);
    return 0;
  },
};

const KINDS = ["read", "write", "env", "run", "sys", "ffi", "import", "unix", "all"];

function grantsOf(words: readonly string[]): Grants {
  const grants = new Map<string, Set<string> | "all">();
  for (const word of words) {
    const equals = word.indexOf("=");
    const kind = equals < 0 ? word : word.slice(0, equals);
    if (!KINDS.includes(kind)) throw new UsageError(`--allow "${word}": expected one of ${KINDS.join(", ")}`);
    const granted = grants.get(kind);
    if (equals < 0) grants.set(kind, "all");
    else if (granted !== "all") grants.set(kind, new Set([...granted ?? [], word.slice(equals + 1)]));
  }
  return grants;
}
