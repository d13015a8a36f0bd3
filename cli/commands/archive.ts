import { writeArchiveFile } from "../../checkpoint/archive/archive_file.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { readArguments } from "../arguments.ts";
import { type Command, InputError, type Terminal, UsageError } from "../command.ts";
import { Progress } from "../progress.ts";
import { counted, damagedIn, mustBeStore } from "../store/open.ts";

const HELP = `\
Writes all connections that sleep in a store into one portable file, which
torpor unarchive puts into another store, on another machine or under another
address. The store stays as it is, and only one of both may go on with them. A
store that a process has open is left alone: SleepyHost.checkpoint() is for
those.

  torpor archive FOLDER FILE [--json]

  --json   one object at the end: { connections, bytes }
  --help   print this

  torpor archive ./connections monday.archive
  torpor explain monday.archive | less

FILE is under its name only when it is whole and durable. One that is there
already is not written over.

Exit codes: 0 done, 1 done, without connections that are damaged (torpor store
check says which), 2 the store cannot be opened, the file cannot be written or
the command line is wrong.
`;

const EXIT_DAMAGED = 1;

/** `torpor archive`. */
export const archive: Command = {
  name: "archive",
  summary: "writes all sleeping connections into one portable file",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals } = readArguments(args);
    const [folder, path, more] = positionals;
    if (folder === undefined || path === undefined || more !== undefined) {
      throw new UsageError("which folder, and into which file?");
    }
    mustBeStore(folder);
    await using store = await FileStore.open(folder);
    const progress = new Progress(terminal);
    try {
      const { connections, bytes } = await writeArchiveFile(store, path, {
        onProgress: (done) => progress.show(`${counted(done, "connection")} of ${store.stats.recordsLive}`),
      });
      progress.end();
      terminal.out(
        json
          ? `${JSON.stringify({ connections, bytes })}\n`
          : `${counted(connections, "connection")} in ${counted(bytes, "byte")}\n`,
      );
    } catch (error) {
      if (error instanceof Error && error.message.includes("it is there already")) {
        throw new InputError(error.message);
      }
      throw error;
    } finally {
      progress.end();
    }
    const damaged = damagedIn(store);
    if (damaged === 0) return 0;
    terminal.err(`torpor archive: ${counted(damaged, "entry", "entries")} damaged and left out\n`);
    return EXIT_DAMAGED;
  },
};
