import { CapturedIp } from "../../../checkpoint/replay/captured_packet.ts";
import { formatEvent } from "../../../net/firewall/nft/events.ts";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { PacketJudge, type Way } from "../../firewall/judged.ts";
import { linkFor, loadRules } from "../../firewall/rules_file.ts";
import { packetsIn } from "../../replay/capture_file.ts";
import { decidedBy, placeOf, textOf } from "../../firewall/story.ts";
import { definesOf } from "./check.ts";
import { wayOf } from "./explain.ts";

const HELP = `\
Lets the packets of a capture meet rules, connection tracking included: the
verdict of each packet, and at the end what each rule has matched. Which way a
packet goes is said by --local: to one of ours is input, from one of ours
output, all else forward; without it by the capture where it knows (pcapng with
directions), and what it does not know is input. Rules that translate addresses
are told, not carried out. A capture that was cut short is read as far as it
goes, and a line on standard error says where.

  torpor firewall simulate FILE CAPTURE [options]

  --local ADDRESS  an address of this host; may be given again
  --way WAY        input, output or forward, for every packet
  --quiet          only the counters
  --events         what rules log, and what packets with meta nftrace set 1
                   meet, as nft monitor trace prints it
  -D NAME=VALUE    a variable for the file
  --json           a line per packet, { packet, timeMs, way, verdict, by, rule
                   }, and per rule, { place, rule, packets, bytes }
  --help           print this

  torpor firewall simulate router.nft run.pcapng --local 10.7.0.1

Exit codes: 0 every packet was judged, 2 a file cannot be read or used, or the
command line is wrong.
`;

/** `torpor firewall simulate`. */
export const firewallSimulate: Command = {
  name: "simulate",
  summary: "lets the packets of a capture meet rules",
  help: HELP,
  run(args: string[], terminal: Terminal): number {
    const { json, positionals, values } = readArguments(args, {
      local: { type: "string", multiple: true },
      way: { type: "string" },
      quiet: { type: "boolean", default: false },
      events: { type: "boolean", default: false },
      define: { type: "string", short: "D", multiple: true },
    });
    const [file, capture] = positionals;
    if (file === undefined || capture === undefined || positionals.length > 2) {
      throw new UsageError("which file of rules, and which capture?");
    }
    const rules = loadRules(file, definesOf(values.define));
    const packets = packetsOf(capture, terminal);
    const names = new Set(
      packets.map(({ interfaceName }) => interfaceName).filter((name) => name !== undefined),
    );
    const local = new Set(values.local);
    const judge = new PacketJudge(linkFor(rules, [...names]), local, packets[0]?.timeMs ?? 0);
    const counted = new Map<string, { rule: string; packets: number; bytes: number }>();
    const fixed = values.way === undefined ? undefined : wayOf(values.way);
    const totals: Record<string, number> = {};
    for (const { number, timeMs, ip, direction, interfaceName } of packets) {
      const way = fixed ?? wayBy(ip, direction, local);
      const judged = judge.judge({
        bytes: ip.slab.bytes,
        way,
        nowMs: timeMs,
        iif: way === "output" ? undefined : interfaceName,
        oif: way === "output" ? interfaceName : undefined,
      });
      const { verdict } = judged;
      totals[verdict] = (totals[verdict] ?? 0) + 1;
      for (const step of judged.stages.flatMap(({ explanation }) => explanation.steps)) {
        if (!step.matched) continue;
        const place = placeOf(step);
        const count = counted.get(place) ?? { rule: textOf(step), packets: 0, bytes: 0 };
        counted.set(place, {
          ...count,
          packets: count.packets + 1,
          bytes: count.bytes + ip.slab.bytes.length,
        });
      }
      for (const event of values.events ? judged.events : []) {
        terminal.out(`${json ? JSON.stringify(event) : formatEvent(event)}\n`);
      }
      if (values.quiet) continue;
      const by = decidedBy(judged);
      if (json) {
        const told = { packet: number, timeMs, way, verdict, by: by && placeOf(by), rule: by && textOf(by) };
        terminal.out(`${JSON.stringify(told)}\n`);
      } else {
        const why = by === undefined ? "no rule" : `${placeOf(by)}: ${textOf(by)}`;
        terminal.out(`${number} ${way} ${ip.source} > ${ip.destination}: ${verdict}, ${why}\n`);
      }
    }
    for (const [place, count] of counted) {
      terminal.out(
        json
          ? `${JSON.stringify({ place, ...count })}\n`
          : `${count.packets} packets, ${count.bytes} bytes: ${place}: ${count.rule}\n`,
      );
    }
    if (!json) {
      const words = Object.entries(totals).map(([verdict, count]) => `${count} ${verdict}`).join(", ");
      terminal.out(`${packets.length} packets: ${words}\n`);
    }
    return 0;
  },
};

interface Numbered {
  /** As Wireshark numbers them. */
  readonly number: number;
  readonly timeMs: number;
  readonly ip: CapturedIp;
  readonly direction: string | undefined;
  readonly interfaceName: string | undefined;
}

/** The IP packets of a capture that are whole. */
function packetsOf(path: string, terminal: Terminal): Numbered[] {
  const packets: Numbered[] = [];
  let number = 0;
  for (const captured of packetsIn(path, (what) => terminal.err(`torpor firewall simulate: ${what}\n`))) {
    number++;
    const ip = CapturedIp.of(captured);
    if (ip === undefined || ip.cut) continue;
    const { timeMs, direction, interfaceName } = captured;
    packets.push({ number, timeMs, ip, direction, interfaceName });
  }
  return packets;
}

function wayBy(ip: CapturedIp, direction: string | undefined, local: ReadonlySet<string>): Way {
  if (local.has(ip.destination)) return "input";
  if (local.has(ip.source)) return "output";
  if (local.size > 0) return "forward";
  return direction === "out" ? "output" : "input";
}
