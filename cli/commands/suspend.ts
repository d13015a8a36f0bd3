import { readArguments } from "../arguments.ts";
import { type Command, type Terminal, UsageError } from "../command.ts";
import { CONTROL_EXITS, CONTROL_FOLDER, withHost } from "../control.ts";
import { counted } from "../store/open.ts";

const HELP = `\
Puts connections of a running host to sleep now, whatever they are doing, and
waits until they are durable. Their peers notice nothing, and wake them.

  torpor suspend FOLDER CONNECTION... [--json]
  torpor suspend FOLDER --all [--json]

  --all    every connection that is established
  --json   one object a connection: { id, imageBytes }; of all: { suspended }
  --help   print this

  torpor suspend ./connections 10.7.0.1:80-10.9.0.4:51312
  torpor suspend ./connections --all

${CONTROL_FOLDER}
${CONTROL_EXITS}`;

/** `torpor suspend`. */
export const suspend: Command = {
  name: "suspend",
  summary: "puts a running host's connections to sleep",
  help: HELP,
  run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder, ...ids], values: { all } } = readArguments(args, {
      all: { type: "boolean", default: false },
    });
    if (folder !== undefined && all === ids.length > 0) {
      throw new UsageError("which connections, or --all?");
    }
    return withHost(folder, "suspend", terminal, async (client) => {
      if (all) {
        const { suspended } = await client.suspend();
        terminal.out(
          json ? `${JSON.stringify({ suspended })}\n` : `${counted(suspended, "connection")} fell asleep\n`,
        );
      }
      for (const id of ids) {
        const { imageBytes } = await client.suspend(id);
        terminal.out(
          json ? `${JSON.stringify({ id, imageBytes })}\n` : `${id} sleeps in ${imageBytes} bytes\n`,
        );
      }
    });
  },
};
