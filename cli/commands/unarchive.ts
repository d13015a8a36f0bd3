import { statSync } from "node:fs";
import { unarchive as putBack } from "../../checkpoint/archive/unarchive.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { readArguments } from "../arguments.ts";
import { type Command, InputError, type Terminal, UsageError } from "../command.ts";
import { Progress } from "../progress.ts";
import { counted } from "../store/open.ts";

const HELP = `\
Puts the connections of an archive into an empty store, where they sleep until
they are spoken to: the process that opens it goes on with them. The one that
wrote the archive must not.

  torpor unarchive FILE FOLDER [--move FROM=TO]... [--json]

  --move FROM=TO  connections of the local address FROM are of TO from now on.
                  Their peers know nothing of it and go on talking to FROM:
                  what lies between must follow, as a NAT does
  --json          one object for each damaged stretch, { offset, bytes, reason
                  }, and one at the end: { connections, moved, damaged,
                  expected }
  --help          print this

  torpor unarchive monday.archive ./connections
  torpor unarchive monday.archive ./connections --move 10.7.0.1=10.8.0.1

FOLDER is made when missing. What is damaged costs itself only, and is told.

Exit codes: 0 all is there, 1 some of the archive is damaged and the rest is
there, 2 it is no archive, connections are in the store already, the store is
open elsewhere, or the command line is wrong.
`;

const EXIT_DAMAGED = 1;

/** `torpor unarchive`. */
export const unarchive: Command = {
  name: "unarchive",
  summary: "puts the connections of an archive into a store",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals, values } = readArguments(args, {
      move: { type: "string", multiple: true, default: [] },
    });
    const [path, folder, more] = positionals;
    if (path === undefined || folder === undefined || more !== undefined) {
      throw new UsageError("which file, and into which folder?");
    }
    statSync(path); // before a folder is made for it
    const move = Object.fromEntries(values.move.map((text) => {
      const parts = text.split("=");
      if (parts.length !== 2) throw new UsageError(`--move: "${text}" is not FROM=TO`);
      return parts as [string, string];
    }));
    await using store = await FileStore.open(folder);
    const progress = new Progress(terminal);
    try {
      const told = await putBack(path, store, {
        move,
        onProgress: (done) => progress.show(counted(done, "connection")),
        onDamage: ({ offset, bytes, reason }) => {
          if (json) terminal.out(`${JSON.stringify({ offset, bytes, reason })}\n`);
          else terminal.err(`torpor unarchive: byte ${offset} to ${offset + bytes}: ${reason}\n`);
        },
      });
      progress.end();
      const { connections, moved, damaged, expected } = told;
      const lost = expected === undefined || connections === expected ? "" : ` of ${expected}`;
      terminal.out(
        json
          ? `${JSON.stringify({ connections, moved, damaged, expected })}\n`
          : `${counted(connections, "connection")}${lost}, ${moved} of them moved\n`,
      );
      return damaged > 0 ? EXIT_DAMAGED : 0;
    } catch (error) {
      if (error instanceof TypeError) throw new InputError(error.message);
      throw error;
    } finally {
      progress.end();
    }
  },
};
