import type { PatchRow } from "../../../patching/apply/patch_control.ts";
import { readArguments } from "../../arguments.ts";
import { printable } from "../../color.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { CONTROL_EXITS, CONTROL_FOLDER, withHost } from "../../control.ts";

const HELP = `\
Lists the patches that a running program has, oldest first, and the modules
that can be patched, with the version of each that runs.

  torpor patch ls FOLDER [--json]

  --json  { patches, modules }
  --help  print this

  torpor patch ls ./connections

${CONTROL_FOLDER}
${CONTROL_EXITS}`;

/** `torpor patch ls`. */
export const patchLs: Command = {
  name: "ls",
  summary: "lists a running program's patches and modules",
  help: HELP,
  run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder, more] } = readArguments(args);
    if (more !== undefined) throw new UsageError(`one folder, not "${more}" as well`);
    return withHost(folder, "patch ls", terminal, async (client) => {
      const answer = await client.ask({ do: "patch" });
      const { patches, modules } = answer as unknown as {
        patches: readonly PatchRow[];
        modules: readonly { readonly name: string; readonly hash: string }[];
      };
      if (json) return void terminal.out(`${JSON.stringify({ patches, modules })}\n`);
      for (const { name, version, description, functions, signed } of patches) {
        const about = `${name} ${version}${signed ? ", signed" : ""}${
          description === "" ? "" : `: ${description}`
        }`;
        terminal.out(printable(`${about}\n  ${functions.join(", ")}\n`));
      }
      for (const { name, hash } of modules) terminal.out(printable(`module ${name} ${hash.slice(0, 12)}\n`));
    });
  },
};
