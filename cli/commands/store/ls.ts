import {
  describeSocketImage,
  locationText,
  type StoredConnection,
} from "../../../checkpoint/sockets/stored.ts";
import { isBeside, stretchesOf } from "../../../checkpoint/sockets/stretch.ts";
import { ImageError } from "../../../checkpoint/image/image_error.ts";
import { paint, printable } from "../../color.ts";
import { addressOf, portOf, readArguments } from "../../arguments.ts";
import type { Command, Terminal } from "../../command.ts";
import { Gathered } from "../../gathered.ts";
import { damagedIn, oneFolder, snapshotOf } from "../../store/open.ts";

const HELP = `\
Lists the connections that sleep in a store, in the order in which they lie
there. It may be open in another process: then those that sleep at this moment,
and the durable ones that are awake, which are in it as well.

  torpor store ls FOLDER [options]

  --port PORT     only those of this local port
  --from ADDRESS  only those of this remote address
  --count         print how many, and nothing else
  --json          one object a connection
  --help          print this

A line is: connection (local end first), state, since when it sleeps, bytes
written and not acknowledged, bytes received and not read, bytes of the
attachment, of the image, and where it lies, as explain takes it.

  torpor store ls ./connections --port 6667
  torpor store ls ./connections --from 10.9.0.4 --count
  torpor store ls ./connections --json | jq -r 'select(.sendQueueBytes > 0).id'

Exit codes: 0 all is listed, 1 an image is damaged (standard error says which),
2 the folder cannot be read or the command line is wrong.
`;

const EXIT_DAMAGED = 1;

/** `torpor store ls`. */
export const storeLs: Command = {
  name: "ls",
  summary: "lists the connections that sleep",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals, values } = readArguments(args, {
      count: { type: "boolean", default: false },
      port: { type: "string" },
      from: { type: "string" },
    });
    const folder = oneFolder(positionals);
    const port = portOf(values.port);
    const from = addressOf("from", values.from);
    const { disk, store } = await snapshotOf(folder, "store ls", terminal);
    let damaged = 0;
    let count = 0;
    const lines = new Gathered(terminal);
    try {
      const stretchOf = stretchesOf(store);
      for (const { location, bytes } of store.live()) {
        if (isBeside(bytes)) continue; // a part of another
        let connection: StoredConnection;
        try {
          connection = describeSocketImage(bytes, location, stretchOf);
        } catch (error) {
          if (!(error instanceof ImageError)) throw error;
          damaged++;
          terminal.err(`torpor store ls: record at ${locationText(location)}: ${error.message}\n`);
          continue;
        }
        if (port !== undefined && connection.localPort !== port) continue;
        if (from !== undefined && connection.remoteAddress !== from) continue;
        count++;
        if (values.count) continue;
        await lines.add(json ? `${jsonOf(connection)}\n` : lineOf(connection, terminal));
      }
      if (values.count) await lines.add(json ? `${JSON.stringify({ count })}\n` : `${count}\n`);
      lines.end();
      damaged += damagedIn(store);
      if (damagedIn(store) > 0) {
        terminal.err("torpor store ls: entries are damaged; torpor store check says where\n");
      }
    } finally {
      await store.close();
      disk.close();
    }
    return damaged > 0 ? EXIT_DAMAGED : 0;
  },
};

function jsonOf(connection: StoredConnection): string {
  return JSON.stringify({ ...connection, location: locationText(connection.location) });
}

function lineOf(connection: StoredConnection, terminal: Terminal): string {
  const { id, state, asleepSinceMs, sendQueueBytes, receiveQueueBytes } = connection;
  const { attachmentBytes, imageBytes, location } = connection;
  const since = new Date(asleepSinceMs).toISOString();
  const queued = `${sendQueueBytes} B out, ${receiveQueueBytes} B in`;
  return `${paint(terminal, "bold", printable(id.padEnd(44)))} ${state.padEnd(11)} ${since}  ${queued}, ` +
    `${attachmentBytes} B attached, ${imageBytes} B at ${locationText(location)}\n`;
}
