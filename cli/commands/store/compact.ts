import { judgeRecords } from "../../../checkpoint/sockets/stored.ts";
import { compactStore } from "../../../checkpoint/store/compact.ts";
import { readArguments } from "../../arguments.ts";
import type { Command, Terminal } from "../../command.ts";
import { Progress } from "../../progress.ts";
import { counted, damagedIn, mustBeStore, oneFolder, snapshotOf } from "../../store/open.ts";

const HELP = `\
Writes the sleeping connections of a store anew, one behind the other, and lets
all else go. Killed at any instant, each connection is there once; run again,
it goes on. Needs 32 MiB of free disk. A store that a process has open is left
alone (it cleans up by itself), and so is one that has to be repaired before.

  torpor store compact FOLDER [--json]

  --json   one object at the end: { connections, bytesBefore, bytesAfter }
  --help   print this

  torpor store compact ./connections

Exit codes: 0 done, 1 the store has to be repaired before, 2 the store cannot
be opened, the disk refuses or the command line is wrong.
`;

const EXIT_DAMAGED = 1;

/** `torpor store compact`. */
export const storeCompact: Command = {
  name: "compact",
  summary: "writes live records anew and gives the rest of the disk back",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals } = readArguments(args);
    const folder = oneFolder(positionals);
    mustBeStore(folder);
    const trouble = await toRepair(folder, terminal);
    if (trouble !== undefined) {
      terminal.err(`torpor store compact: ${trouble}: torpor store repair first\n`);
      return EXIT_DAMAGED;
    }
    const progress = new Progress(terminal);
    try {
      const { records, bytesBefore, bytesAfter } = await compactStore(folder, {
        onProgress: (moved, total) =>
          progress.show(`${counted(moved, "connection")} of ${total} written anew`),
      });
      progress.end();
      const connections = records;
      terminal.out(
        json
          ? `${JSON.stringify({ connections, bytesBefore, bytesAfter })}\n`
          : `${counted(connections, "connection")}: ${counted(bytesBefore, "byte")} before, ` +
            `${counted(bytesAfter, "byte")} now\n`,
      );
      return 0;
    } finally {
      progress.end();
    }
  },
};

/** Where a live record is damaged, or one of two of one connection, rewriting would settle what it may not. */
async function toRepair(folder: string, terminal: Terminal): Promise<string | undefined> {
  const { disk, store } = await snapshotOf(folder, "store compact", terminal);
  try {
    let trouble: string | undefined;
    judgeRecords(store, ({ why }) => void (trouble ??= why));
    const damaged = damagedIn(store);
    if (damaged > 0) trouble ??= `${counted(damaged, "entry", "entries")} damaged`;
    return trouble;
  } finally {
    await store.close();
    disk.close();
  }
}
