import { readFileSync } from "node:fs";
import { type OpenDiff, openDiff, writeMerged } from "../../../checkpoint/appliances/disk/diff_file.ts";
import { openAppliance } from "../../../checkpoint/appliances/disk/open_appliance.ts";
import type { Conflict } from "../../../checkpoint/appliances/merge/merged.ts";
import { DEFAULT_POLICY, readPolicy } from "../../../checkpoint/appliances/merge/policy.ts";
import { APPLIANCE_HELP, withWork } from "../../appliance/work.ts";
import { readArguments } from "../../arguments.ts";
import { printable } from "../../color.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { counted } from "../../store/open.ts";
import { bytesText } from "../../units.ts";

const HELP = `\
Merges differentials to one base into one: an appliance that is all of them.
What several changed is merged where that is sound (databases of packages,
users and groups, libraries, logs), told, or a conflict, with both sides.

  torpor appliance merge BASE FILE FILE... --out FILE [options]

  --out FILE     the merged differential
  --policy FILE  JSON: what may be decided, and how; docs/appliances.md
  --json         one object for each conflict and each decision, and one at
                 the end: { conflicts, resolved, bytes }
  --help         print this

  torpor appliance merge debian/ nginx.diff redis.diff --out both.diff
  torpor appliance merge debian/ a.diff b.diff --out c.diff --policy p.json

${APPLIANCE_HELP}
Exit codes: 0 done, 1 there are conflicts and nothing was written, 2 something
given cannot be read, is for another base or the command line is wrong, 130
interrupted.
`;

const EXIT_CONFLICTS = 1;

/** `torpor appliance merge`. */
export const applianceMerge: Command = {
  name: "merge",
  summary: "merges differentials to one base, and tells conflicts",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals, values } = readArguments(args, {
      out: { type: "string" },
      policy: { type: "string" },
    });
    const [spec, ...files] = positionals;
    if (files.length < 2 || values.out === undefined) {
      throw new UsageError("which base, which differentials, and --out which file?");
    }
    const policy = values.policy === undefined
      ? DEFAULT_POLICY
      : readPolicy(new Uint8Array(readFileSync(values.policy)));
    const out = values.out;
    return await withWork(terminal, "merge", async (options, progress) => {
      const open: OpenDiff[] = [];
      try {
        for (const file of files) open.push(await openDiff(file));
        using base = await openAppliance(spec!, options);
        const { conflicts, resolved, made } = await writeMerged(
          base,
          open.map(({ diff }) => diff),
          out,
          policy,
          options,
        );
        progress.end();
        for (const each of resolved) {
          terminal.out(
            json ? `${JSON.stringify({ resolved: each })}\n` : printable(`${each.path}: ${each.how}\n`),
          );
        }
        for (const each of conflicts) {
          terminal.out(json ? `${JSON.stringify({ conflict: each })}\n` : printable(textOf(each)));
        }
        const bytes = made?.bytes ?? null;
        terminal.out(
          json
            ? `${JSON.stringify({ conflicts: conflicts.length, resolved: resolved.length, bytes })}\n`
            : made === undefined
            ? `${counted(conflicts.length, "conflict")}: nothing is written\n`
            : `${counted(resolved.length, "decision")}, no conflict: ${bytesText(made.bytes)}\n`,
        );
        return made === undefined ? EXIT_CONFLICTS : 0;
      } finally {
        for (const each of open) each[Symbol.dispose]();
      }
    });
  },
};

function textOf({ kind, path, sides, why }: Conflict): string {
  return [
    `CONFLICT ${kind} ${path}`,
    ...why.map((each) => `  ${each}`),
    ...sides.map(({ name, what }) => `  ${name}: ${what}`),
    "",
  ].join("\n");
}
