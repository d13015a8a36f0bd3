import { CONNECTION_STATES, type ConnectionState } from "../../checkpoint/control/request.ts";
import type { ConnectionRow } from "../../checkpoint/control/rows.ts";
import { addressOf, portOf, readArguments } from "../arguments.ts";
import { type Color, paint, printable } from "../color.ts";
import { type Command, type Terminal, UsageError } from "../command.ts";
import { CONTROL_EXITS, CONTROL_FOLDER, withHost } from "../control.ts";
import { Gathered } from "../gathered.ts";
import { Progress } from "../progress.ts";
import { bytesText, secondsText } from "../units.ts";

const HELP = `\
Lists the connections of a running host, awake and asleep.

  torpor ls FOLDER [options]

  --state STATE   only those that are awake, saving, asleep or waking
  --port PORT     only those of this local port
  --from ADDRESS  only those of this remote address
  --count         print how many, and nothing else
  --json          one object a connection
  --help          print this

A line is: connection (local end first), what holds it, and of those that have
a TCB: TCP's state, how long idle, bytes unacknowledged, bytes unread, bytes in
and out since the beginning. What an image says, torpor inspect prints.

  torpor ls ./connections --state awake
  torpor ls ./connections --port 6667 --count
  torpor ls ./connections --json | jq -r 'select(.sendQueueBytes > 0).id'

${CONTROL_FOLDER}
${CONTROL_EXITS}`;

const COLORS: Record<ConnectionState, Color> = {
  awake: "green",
  saving: "yellow",
  asleep: "dim",
  waking: "cyan",
};

/** `torpor ls`. */
export const ls: Command = {
  name: "ls",
  summary: "lists a running host's connections, awake and asleep",
  help: HELP,
  run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder], values } = readArguments(args, {
      state: { type: "string" },
      port: { type: "string" },
      from: { type: "string" },
      count: { type: "boolean", default: false },
    });
    const port = portOf(values.port);
    const from = addressOf("from", values.from);
    const state = values.state === undefined ? undefined : stateOf(values.state);
    return withHost(folder, "ls", terminal, async (client) => {
      let count = 0;
      const lines = new Gathered(terminal);
      const progress = new Progress(terminal); // where the list goes elsewhere; on a screen it is that itself
      const looks = terminal.screen !== true || values.count;
      const which = {
        ...(port === undefined ? {} : { port }),
        ...(from === undefined ? {} : { from }),
        ...(state === undefined ? {} : { state }),
      };
      for await (const row of client.ls(which)) {
        count++;
        if (looks) progress.show(`${count} connections`);
        if (values.count) continue;
        await lines.add(json ? `${JSON.stringify(row)}\n` : lineOf(row, terminal));
      }
      progress.end();
      if (values.count) await lines.add(json ? `${JSON.stringify({ count })}\n` : `${count}\n`);
      lines.end();
    });
  },
};

function stateOf(text: string): ConnectionState {
  const state = CONNECTION_STATES.find((each) => each === text);
  if (state === undefined) {
    throw new UsageError(`--state: "${text}" is none of ${CONNECTION_STATES.join(", ")}`);
  }
  return state;
}

function lineOf(row: ConnectionRow, terminal: Terminal): string {
  const { id, state, tcp, idleMs = 0, sendQueueBytes = 0, receiveQueueBytes = 0 } = row;
  const { bytesIn = 0, bytesOut = 0 } = row;
  const held = paint(terminal, COLORS[state], state.padEnd(6));
  const line = `${printable(id).padEnd(44)} ${held}`;
  if (tcp === undefined) return `${line}\n`;
  return `${line} ${tcp.padEnd(11)} idle ${secondsText(idleMs / 1_000).padEnd(7)} ` +
    `${sendQueueBytes} B unacknowledged, ${receiveQueueBytes} B unread, ` +
    `${bytesText(bytesIn)} in, ${bytesText(bytesOut)} out\n`;
}
