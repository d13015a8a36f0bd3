import { applyDiff } from "../../../checkpoint/appliances/diff/apply_diff.ts";
import { openDiff } from "../../../checkpoint/appliances/disk/diff_file.ts";
import { openAppliance } from "../../../checkpoint/appliances/disk/open_appliance.ts";
import { loadZstd } from "../../../checkpoint/appliances/zstd.ts";
import { APPLIANCE_HELP, withWork } from "../../appliance/work.ts";
import { writeTree } from "../../appliance/write.ts";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { counted } from "../../store/open.ts";
import { bytesText } from "../../units.ts";

const HELP = `\
Makes an appliance of its base and a differential. Each file is hashed while it
is written, and a folder is read again and compared, before it gets its name.
Killed at any instant, run again, it goes on where it was.

  torpor appliance apply BASE FILE OUT [--json]

  --json   one object at the end: { form, names, resumed, bytes }; resumed are
           names, of an OCI layout bytes, that were there from an earlier run
  --help   print this

  torpor appliance apply debian/ nginx.diff nginx/
  torpor appliance apply debian.oci both.diff both.oci
  torpor appliance apply debian.tar.gz nginx.diff nginx.tar

OUT is a tar when it ends in .tar, an OCI layout when it ends in .oci (the
base's layers, and one above them), else a folder. One that is there already is
not written over.

${APPLIANCE_HELP}
Exit codes: 0 done, 2 something given cannot be read, is damaged or is for
another base, the disk refuses or the command line is wrong, 130 interrupted.
`;

/** `torpor appliance apply`. */
export const applianceApply: Command = {
  name: "apply",
  summary: "makes an appliance of its base and a differential",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals } = readArguments(args);
    const [spec, file, out, more] = positionals;
    if (out === undefined || more !== undefined) {
      throw new UsageError("which base, which differential, into what?");
    }
    return await withWork(terminal, "apply", async (options, progress) => {
      using open = await openDiff(file!);
      using base = await openAppliance(spec!, options);
      const tree = applyDiff(base.tree, open.diff, await loadZstd());
      const { form, bytes, resumed } = await writeTree(tree, out, base, open.diff.about.services, options);
      progress.end();
      terminal.out(
        json
          ? `${JSON.stringify({ form, names: tree.size, resumed, bytes })}\n`
          : `${counted(tree.size, "name")}, ${bytesText(bytes)}${
            resumed === 0 ? "" : `; ${form === "oci" ? bytesText(resumed) : resumed} were there before`
          }\n`,
      );
      return 0;
    });
  },
};
