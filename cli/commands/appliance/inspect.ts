import { explainDiff } from "../../../checkpoint/appliances/diff/explain_diff.ts";
import { openDiff } from "../../../checkpoint/appliances/disk/diff_file.ts";
import { openAppliance } from "../../../checkpoint/appliances/disk/open_appliance.ts";
import { fingerprint } from "../../../checkpoint/appliances/fingerprint.ts";
import { mtreeLines } from "../../../checkpoint/appliances/mtree.ts";
import { isImage } from "../../appliance/is_image.ts";
import { APPLIANCE_HELP, withWork } from "../../appliance/work.ts";
import { readArguments } from "../../arguments.ts";
import { printable } from "../../color.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { Gathered } from "../../gathered.ts";
import { bytesText } from "../../units.ts";

const HELP = `\
Prints what an appliance is, or what a differential changes, a line each.

  torpor appliance inspect APPLIANCE [--mtree] [--json]
  torpor appliance inspect FILE [--json]

  --mtree  of an appliance, all of its names as mtree(8) takes them
  --json   of an appliance one object: { name, form, names, bytes, layers,
           services, fingerprint }; of a differential one object for each
           change and one at the end
  --help   print this

  torpor appliance inspect nginx.diff | less
  torpor appliance inspect nginx.oci
  torpor appliance inspect nginx/ --mtree > spec; mtree -f spec -p nginx

${APPLIANCE_HELP}
Exit codes: 0 done, 2 something given cannot be read or is damaged, or the
command line is wrong, 130 interrupted.
`;

/** `torpor appliance inspect`. */
export const applianceInspect: Command = {
  name: "inspect",
  summary: "prints an appliance, or what a differential changes",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [spec, more], values } = readArguments(args, {
      mtree: { type: "boolean", default: false },
    });
    if (spec === undefined || more !== undefined) {
      throw new UsageError("which appliance, or which differential?");
    }
    return await withWork(terminal, "inspect", async (options, progress) => {
      const lines = new Gathered(terminal);
      if (isImage(spec)) {
        using open = await openDiff(spec);
        for (const { text, about } of explainDiff(open.diff)) {
          await lines.add(`${json ? JSON.stringify(about) : printable(text)}\n`);
        }
        lines.end();
        return 0;
      }
      using appliance = await openAppliance(spec, options);
      progress.end();
      const { name, form, tree, layers, services } = appliance;
      if (values.mtree) {
        for (const line of mtreeLines(tree)) await lines.add(`${line}\n`);
        lines.end();
        return 0;
      }
      let bytes = 0;
      for (const { node, links } of tree.entries()) if (links === undefined) bytes += node.content?.size ?? 0;
      const told = { name, form, names: tree.size, bytes, layers, services, fingerprint: fingerprint(tree) };
      terminal.out(
        json ? `${JSON.stringify(told)}\n` : printable(
          [
            `${name}, ${form}: ${tree.size} names, ${bytesText(bytes)}`,
            `fingerprint ${told.fingerprint}`,
            ...layers.map((digest) => `layer ${digest}`),
            ...services.map((service) =>
              `starts ${[...service.entrypoint, ...service.cmd].join(" ")}${
                service.ports.length === 0 ? "" : ` on ${service.ports.join(", ")}`
              }`
            ),
            "",
          ].join("\n"),
        ),
      );
      return 0;
    });
  },
};
