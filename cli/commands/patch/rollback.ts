import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { CONTROL_EXITS, CONTROL_FOLDER, withHost } from "../../control.ts";

const HELP = `\
Takes the last patch of a running program back: the functions before it run
again.

  torpor patch rollback FOLDER [NAME] [--json]

  NAME    the patch, which must be the last
  --json  { rolledBack }
  --help  print this

  torpor patch rollback ./connections

${CONTROL_FOLDER}
${CONTROL_EXITS}`;

/** `torpor patch rollback`. */
export const patchRollback: Command = {
  name: "rollback",
  summary: "takes the last patch of a running program back",
  help: HELP,
  run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder, name, more] } = readArguments(args);
    if (more !== undefined) throw new UsageError(`one patch, not "${more}" as well`);
    return withHost(folder, "patch rollback", terminal, async (client) => {
      const { rolledBack } = await client.ask({ do: "patch", rollback: name ?? true });
      terminal.out(json ? `${JSON.stringify({ rolledBack })}\n` : `rolled back "${rolledBack}"\n`);
    });
  },
};
