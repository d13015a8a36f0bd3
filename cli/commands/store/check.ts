import { judgeRecords, placeOf } from "../../../checkpoint/sockets/stored.ts";
import { checkSegments, type Finding } from "../../../checkpoint/store/check.ts";
import { paint, printable } from "../../color.ts";
import { readArguments } from "../../arguments.ts";
import type { Command, Terminal } from "../../command.ts";
import { counted, oneFolder, snapshotOf } from "../../store/open.ts";

const HELP = `\
Reads a store whole and changes nothing in it: every segment's header and every
entry's hash, every index beside its segment, every image, double images of one
connection, removals of what is not there, unfinished files. It may be open in
another process, which goes on.

  torpor store check FOLDER [--json]

  --json   one object a finding, { severity, file, offset, bytes, what,
           connections }, and the result at the end
  --help   print this

  torpor store check ./connections && echo sound

"damage" is what is not as it was written, with the connections that it costs,
at most. "notice" is what a crash leaves: the next opening deals with it, and
nothing that was promised is lost.

Exit codes: 0 sound (there may be notices), 1 damaged, 2 the folder cannot be
read or the command line is wrong.
`;

const EXIT_DAMAGED = 1;

/** `torpor store check`. */
export const storeCheck: Command = {
  name: "check",
  summary: "reads all and says what is damaged; changes nothing",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals } = readArguments(args);
    const folder = oneFolder(positionals);
    const { disk, store } = await snapshotOf(folder, "store check", terminal);
    let damages = 0;
    let concerned = 0;
    const report = (finding: Finding): void => {
      const { severity, file, offset, bytes, what, records: connections } = finding;
      if (severity === "damage") damages++;
      concerned += connections;
      if (json) {
        terminal.out(`${JSON.stringify({ severity, file, offset, bytes, what, connections })}\n`);
      } else terminal.out(findingText(finding, terminal));
    };
    try {
      const { segments, entries, bytes } = checkSegments(disk, report);
      const connections = judgeRecords(store, ({ location, bytes: { length }, why }, kind) => {
        const { file, offset } = placeOf(location);
        const severity = kind === "image" ? "damage" : "notice";
        report({ severity, file, offset, bytes: length, what: why, records: kind === "image" ? 1 : 0 });
      });
      const sound = damages === 0;
      if (json) {
        const result = { sound, damages, concerned, connections, segments, entries, bytes };
        terminal.out(`${JSON.stringify({ result })}\n`);
      } else {
        const told = sound
          ? paint(terminal, "green", "sound")
          : `${paint(terminal, "red", "damaged")} in ${counted(damages, "place")}, ` +
            `${counted(concerned, "connection")} concerned at most`;
        terminal.out(
          `${told}: ${counted(connections, "connection")} asleep, ${
            counted(entries, "entry", "entries")
          } in ` +
            `${counted(segments, "segment")}, ${counted(bytes, "byte")}\n`,
        );
      }
      return sound ? 0 : EXIT_DAMAGED;
    } finally {
      await store.close();
      disk.close();
    }
  },
};

function findingText({ severity, file, offset, bytes, what, records }: Finding, terminal: Terminal): string {
  const label = paint(terminal, severity === "damage" ? "red" : "yellow", severity);
  const where = bytes > 0 ? `, byte ${offset} to ${offset + bytes}` : "";
  const cost = records > 0 ? ` (costs ${counted(records, "connection")} at most)` : "";
  return `${label} ${printable(`${file}${where}: ${what}${cost}`)}\n`;
}
