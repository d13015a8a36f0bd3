import type { Player } from "../../checkpoint/replay/player.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import { tcpStateNames } from "../../net/tcp/tcb.ts";
import { printable } from "../color.ts";
import type { Terminal } from "../command.ts";
import type { Printer } from "./printer.ts";

const HELP = `\
  enter     the next step that does something
  N         N of those
  c         on to the end, or until the condition
  s         the connections and their states
  q         no more
`;
/** Connections that are listed. */
const LISTED_MAX = 100;

/**
 * Plays one step at a time, as whoever types wants it.
 * @param stop Whether the condition has come true.
 */
export async function stepThrough(
  player: Player,
  printer: Printer,
  terminal: Terminal,
  stop: () => boolean,
): Promise<void> {
  terminal.err("> ");
  for await (const line of terminal.lines()) {
    const word = line.trim();
    if (word === "q") return;
    if (word === "s") terminal.out(printable(connectionsText(player)));
    else if (word === "c" || /^\d*$/.test(word)) {
      if (!playSome(player, printer, word === "c" ? Infinity : Number(word || 1), stop)) return;
    } else terminal.out(HELP);
    terminal.err("> ");
  }
}

/** @returns False when there is no more. */
function playSome(player: Player, printer: Printer, count: number, stop: () => boolean): boolean {
  for (let done = 0; done < count;) {
    const before = printer.lines;
    if (!player.step() || stop()) return false;
    if (printer.lines > before) done++;
  }
  return true;
}

function connectionsText({ stack }: Player): string {
  const lines: string[] = [];
  let count = 0;
  stack?.connections.forEach((record) => {
    if (++count > LISTED_MAX) return;
    const state = stack.connections.state(record);
    const tcb = state === RecordState.awake ? stack.awakeTcb(record) : undefined;
    const name = tcb === undefined
      ? state === RecordState.asleep ? "asleep" : "waking"
      : `${
        tcpStateNames[tcb.state]
      }, ${tcb.sendQueue.length} bytes unacknowledged, ${tcb.receiveQueue.length} unread`;
    lines.push(`  ${stack.idOf(record)}: ${name}`);
  });
  if (count > LISTED_MAX) lines.push(`  and ${count - LISTED_MAX} more`);
  return lines.length === 0 ? "  no connections\n" : `${lines.join("\n")}\n`;
}
