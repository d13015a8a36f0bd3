import { LEVEL_DEFAULT } from "../../../checkpoint/appliances/diff/make_diff.ts";
import { writeDiff } from "../../../checkpoint/appliances/disk/diff_file.ts";
import { openAppliance } from "../../../checkpoint/appliances/disk/open_appliance.ts";
import { servicesInFile } from "../../appliance/services.ts";
import { APPLIANCE_HELP, withWork } from "../../appliance/work.ts";
import { readArguments, wholeNumber } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { counted } from "../../store/open.ts";
import { bytesText } from "../../units.ts";

const HELP = `\
Writes what an appliance is beside its base as a file: what was added, changed
and removed, compressed against the base. The same two give the same bytes.

  torpor appliance diff BASE APPLIANCE FILE [options]

  --services FILE  what it starts, as JSON: a list of { name, entrypoint, cmd,
                   env, ports, user, workingDir }; an image says it itself,
                   a folder or a tar cannot
  --level N        how hard to compress, 1 to 19; ${LEVEL_DEFAULT} when left out
  --json           one object at the end: { added, changed, metadata, removed,
                   packs, resumed, bytes }; resumed are packs that were there
                   from an earlier run
  --help           print this

  torpor appliance diff debian/ nginx/ nginx.diff
  torpor appliance diff nginx.oci#2 nginx.oci nginx.diff
  torpor appliance inspect nginx.diff | less

${APPLIANCE_HELP}
FILE is under its name only when it is whole and durable. Killed at any
instant, run again, what is compressed already (FILE.partial.packs) is not
compressed again. One that is there already is not written over.

Exit codes: 0 done, 2 something given cannot be read, the file cannot be
written or the command line is wrong, 130 interrupted.
`;

/** `torpor appliance diff`. */
export const applianceDiff: Command = {
  name: "diff",
  summary: "writes what an appliance is beside its base",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals, values } = readArguments(args, {
      level: { type: "string", default: String(LEVEL_DEFAULT) },
      services: { type: "string" },
    });
    const [base, appliance, path, more] = positionals;
    if (path === undefined || more !== undefined) {
      throw new UsageError("which base, which appliance, into which file?");
    }
    const level = wholeNumber("level", values.level, 1, 19);
    return await withWork(terminal, "diff", async (options, progress) => {
      using below = await openAppliance(base!, options);
      using above = await openAppliance(appliance!, options);
      const services = values.services === undefined ? above.services : servicesInFile(values.services);
      const made = await writeDiff(below, { ...above, services }, path, { ...options, level });
      progress.end();
      const { added, changed, metadata, removed, packs, resumed, bytes } = made;
      terminal.out(
        json
          ? `${JSON.stringify({ added, changed, metadata, removed, packs, resumed, bytes })}\n`
          : `${
            counted(added, "name")
          } added, ${changed} changed, ${metadata} in what stat tells, ${removed} removed: ` +
            `${bytesText(bytes)}\n`,
      );
      return 0;
    });
  },
};
