import { resolve } from "node:path";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { CONTROL_EXITS, CONTROL_FOLDER, withHost } from "../../control.ts";

const HELP = `\
Applies a patch to a running program: everything is checked, and compiled, then
all of it is switched at once, when none of the functions runs. When something
does not fit, or the program says that it is not well, nothing is applied.

  torpor patch apply FOLDER FILE [--json]

  --json  { applied, tookMs: { stage, switch } }
  --help  print this

  torpor patch apply ./connections louder.patch

${CONTROL_FOLDER}
The program takes patches by offerPatches(); it reads FILE itself.
${CONTROL_EXITS}`;

/** `torpor patch apply`. */
export const patchApply: Command = {
  name: "apply",
  summary: "applies a patch to a running program",
  help: HELP,
  run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder, file, more] } = readArguments(args);
    if (folder !== undefined && file === undefined) throw new UsageError("which patch?");
    if (more !== undefined) throw new UsageError(`one patch, not "${more}" as well`);
    return withHost(folder, "patch apply", terminal, async (client) => {
      const answer = await client.ask({ do: "patch", apply: resolve(file!) });
      const { applied, tookMs } = answer as { applied: string; tookMs: { stage: number; switch: number } };
      if (json) return void terminal.out(`${JSON.stringify({ applied, tookMs })}\n`);
      const [stage, switched] = [tookMs.stage.toFixed(1), tookMs.switch.toFixed(2)];
      terminal.out(`applied "${applied}": checked and compiled in ${stage} ms, switched in ${switched} ms\n`);
    });
  },
};
