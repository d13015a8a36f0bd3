import { judgeRecords } from "../../../checkpoint/sockets/stored.ts";
import { DAMAGED_FOLDER, repairStore } from "../../../checkpoint/store/repair.ts";
import { paint, printable } from "../../color.ts";
import { readArguments } from "../../arguments.ts";
import type { Command, Terminal } from "../../command.ts";
import { counted, mustBeStore, oneFolder } from "../../store/open.ts";

const HELP = `\
Makes a store sound: cuts a torn end, takes damaged entries, images that cannot
be used and older images of one connection out, makes missing indexes. What is
taken out is kept in FOLDER/${DAMAGED_FOLDER}: 00000007.seg.4096 is what was at
byte 4096 of segment 7. Where segments are damaged, all sound records are
written anew, which needs 32 MiB of free disk. Whenever this is interrupted,
nothing sound is lost; run again, it goes on. A store that a process has open
is left alone.

  torpor store repair FOLDER [--dry-run] [--json]

  --dry-run  say what would be done, and do nothing
  --json     one object a step, { step }, and the result at the end
  --help     print this

  torpor store repair ./connections --dry-run
  torpor store repair ./connections && torpor store check ./connections

Exit codes: 0 sound now, there was nothing to do or it is done (of a dry run:
nothing to do), 1 a dry run with something to do, 2 the store cannot be opened,
the disk refuses or the command line is wrong.
`;

const EXIT_TO_DO = 1;

/** `torpor store repair`. */
export const storeRepair: Command = {
  name: "repair",
  summary: "takes out what is damaged, and keeps it aside",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals, values } = readArguments(args, {
      "dry-run": { type: "boolean", default: false },
    });
    const { "dry-run": dryRun } = values;
    const folder = oneFolder(positionals);
    mustBeStore(folder);
    let steps = 0;
    const { saved, rejected, indexes, compacted } = await repairStore(folder, {
      dryRun,
      judge: (store, reject) => void judgeRecords(store, reject),
      onStep: (step) => {
        steps++;
        terminal.out(
          json ? `${JSON.stringify({ step })}\n` : `${dryRun ? "would " : ""}${printable(step)}\n`,
        );
      },
    });
    const connections = compacted?.records;
    const result = { dryRun, steps, saved, rejected, indexes, ...(compacted ? { connections } : {}) };
    if (json) terminal.out(`${JSON.stringify({ result })}\n`);
    else if (steps === 0) terminal.out(`${paint(terminal, "green", "sound")}: there is nothing to repair\n`);
    else if (!dryRun) {
      const kept = saved.length === 0
        ? ""
        : `; ${counted(saved.length, "piece")} kept in ${folder}/${DAMAGED_FOLDER}`;
      terminal.out(`${paint(terminal, "green", "repaired")}${printable(kept)}\n`);
    }
    return dryRun && steps > 0 ? EXIT_TO_DO : 0;
  },
};
