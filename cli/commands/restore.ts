import { readArguments } from "../arguments.ts";
import { type Command, type Terminal, UsageError } from "../command.ts";
import { CONTROL_EXITS, CONTROL_FOLDER, withHost } from "../control.ts";
import { secondsText } from "../units.ts";

const HELP = `\
Wakes sleeping connections of a running host. Nothing is sent for it; they fall
asleep again when they have been idle for as long as the host says.

  torpor restore FOLDER CONNECTION... [--json]

  --json   one object a connection: { id, tookMs }
  --help   print this

  torpor restore ./connections 10.7.0.1:80-10.9.0.4:51312

${CONTROL_FOLDER}
${CONTROL_EXITS}`;

/** `torpor restore`. */
export const restore: Command = {
  name: "restore",
  summary: "wakes a running host's sleeping connections",
  help: HELP,
  run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder, ...ids] } = readArguments(args);
    if (folder !== undefined && ids.length === 0) throw new UsageError("which connections? ls lists them");
    return withHost(folder, "restore", terminal, async (client) => {
      for (const id of ids) {
        const { tookMs } = await client.restore(id);
        const took = tookMs === undefined ? "" : ` after ${secondsText(tookMs / 1_000)}`;
        terminal.out(json ? `${JSON.stringify({ id, tookMs })}\n` : `${id} is awake${took}\n`);
      }
    });
  },
};
