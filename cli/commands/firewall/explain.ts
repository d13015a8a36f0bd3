import { readArguments, wholeNumber } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { CtState } from "../../../net/firewall/conntrack/state.ts";
import { PacketJudge, type Way } from "../../firewall/judged.ts";
import { parsePacketText } from "../../firewall/packet_text.ts";
import { linkFor, loadRules } from "../../firewall/rules_file.ts";
import { decidedBy, placeOf, storyOf, textOf } from "../../firewall/story.ts";
import { definesOf } from "./check.ts";

const HELP = `\
Says what rules make of a packet: every rule that is looked at, in order, and
where one does not match, which part of it and what the packet has there.

  torpor firewall explain FILE --packet WORDS [options]

  --packet WORDS   "tcp 10.9.0.4:4000 > 10.7.0.1:80 flags syn", "udp ... length
                   9", "icmp 10.0.0.1 > 10.0.0.2 type echo-request", addresses
                   of IPv6 with ports as [2001:db8::1]:80, or "hex 4500...";
                   also ttl, dscp, id, code, seq, ack
  --way WAY        input (default), output or forward
  --iif, --oif     where it came in and where it leaves, by name
  --state STATE    new, established, related, invalid or untracked, where it is
                   not what the first packet of a flow has
  --mark NUMBER    its mark
  --local ADDRESS  an address of this host, for fib; may be given again
  -D NAME=VALUE    a variable for the file
  --json           { verdict, state, by, rule, steps }
  --help           print this

  torpor firewall explain r.nft --iif wan --packet "tcp 1.2.3.4:9 > 5.6.7.8:22"

Exit codes: 0 explained, 2 the file cannot be read or used, or the command line
is wrong.
`;

/** `torpor firewall explain`. */
export const firewallExplain: Command = {
  name: "explain",
  summary: "says what rules make of a packet, rule by rule",
  help: HELP,
  run(args: string[], terminal: Terminal): number {
    const { json, positionals, values } = readArguments(args, {
      packet: { type: "string" },
      way: { type: "string" },
      iif: { type: "string" },
      oif: { type: "string" },
      state: { type: "string" },
      mark: { type: "string" },
      local: { type: "string", multiple: true },
      define: { type: "string", short: "D", multiple: true },
    });
    if (positionals.length !== 1) throw new UsageError("which file?");
    if (values.packet === undefined) throw new UsageError("which packet? --packet says it");
    const { iif, oif, state } = values;
    if (state !== undefined && !Object.hasOwn(CtState, state)) {
      throw new UsageError(`--state "${state}": expected ${Object.keys(CtState).join(", ")}`);
    }
    const rules = loadRules(positionals[0]!, definesOf(values.define));
    const linked = linkFor(rules, [iif, oif].filter((name) => name !== undefined));
    const nowMs = Date.now();
    const judged = new PacketJudge(linked, new Set(values.local), nowMs).judge({
      bytes: parsePacketText(values.packet),
      way: wayOf(values.way ?? "input"),
      nowMs,
      iif,
      oif,
      mark: values.mark === undefined ? 0 : wholeNumber("mark", values.mark, 0, 0xffff_ffff) | 0,
      state: state as keyof typeof CtState | undefined,
    });
    if (!json) {
      terminal.out(storyOf(judged));
      return 0;
    }
    const by = decidedBy(judged);
    const steps = judged.stages.flatMap(({ hook, explanation }) =>
      explanation.steps.map((step) => ({
        hook,
        place: placeOf(step),
        rule: textOf(step),
        matched: step.matched,
        verdict: step.verdict,
        statement: step.statement,
        found: step.found,
      }))
    );
    const told = {
      verdict: judged.verdict,
      state: judged.state,
      by: by && placeOf(by),
      rule: by && textOf(by),
      steps,
    };
    terminal.out(`${JSON.stringify(told)}\n`);
    return 0;
  },
};

/** `--way`. */
export function wayOf(text: string): Way {
  if (text === "input" || text === "output" || text === "forward") return text;
  throw new UsageError(`--way "${text}": expected input, output or forward`);
}
