import type { Appliance } from "../../../checkpoint/appliances/appliance.ts";
import { detectBase } from "../../../checkpoint/appliances/detect_base.ts";
import { openAppliance } from "../../../checkpoint/appliances/disk/open_appliance.ts";
import { fingerprint } from "../../../checkpoint/appliances/fingerprint.ts";
import { APPLIANCE_HELP, withWork } from "../../appliance/work.ts";
import { writeTree } from "../../appliance/write.ts";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";

const HELP = `\
Finds the base that appliances were made from, and says why: the layers that
all begin with, else the one of them that is in all others, else all that they
have in common.

  torpor appliance base APPLIANCE APPLIANCE... [--out PATH] [--json]

  --out PATH  write it: as a tar when PATH ends in .tar, as an OCI layout when
              it ends in .oci, else as a folder
  --json      one object at the end: { base, by, fingerprint, names,
              explanation }
  --help      print this

  torpor appliance base nginx.oci redis.oci
  torpor appliance base debian/ nginx/ redis/
  torpor appliance base nginx.tar.gz redis.tar.gz --out base.tar

${APPLIANCE_HELP}
Exit codes: 0 found, 1 they have nothing in common that is a base, 2 something
given cannot be read or the command line is wrong, 130 interrupted.
`;

const EXIT_NONE = 1;

/** `torpor appliance base`. */
export const applianceBase: Command = {
  name: "base",
  summary: "finds the base that several were made from",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals, values } = readArguments(args, { out: { type: "string" } });
    if (positionals.length < 2) throw new UsageError("which appliances? At least two");
    return await withWork(terminal, "base", async (options, progress) => {
      const open: Appliance[] = [];
      try {
        for (const spec of positionals) open.push(await openAppliance(spec, options));
        const found = detectBase(open);
        progress.end();
        if (found === undefined) {
          terminal.err("torpor appliance base: they have nothing in common that is a base\n");
          return EXIT_NONE;
        }
        const spec = found.by === "layers"
          ? `${positionals[0]}#${found.layers}`
          : found.index === undefined
          ? null
          : positionals[found.index]!;
        using lowest = found.by === "layers" ? await openAppliance(spec!, options) : undefined;
        const tree = found.tree ?? lowest!.tree;
        if (values.out !== undefined) await writeTree(tree, values.out, lowest ?? { blobs: [] }, [], options);
        progress.end();
        const { by, explanation } = found;
        if (json) {
          const told = { base: spec, by, fingerprint: fingerprint(tree), names: tree.size, explanation };
          terminal.out(`${JSON.stringify(told)}\n`);
        } else {
          for (const sentence of explanation) terminal.out(`${sentence}\n`);
          const where = values.out ?? spec;
          terminal.out(where === null ? "--out PATH writes it.\n" : `The base: ${where}\n`);
        }
        return 0;
      } finally {
        for (const each of open) each[Symbol.dispose]();
      }
    });
  },
};
