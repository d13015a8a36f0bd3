import { statSync } from "node:fs";
import type { Inspected } from "../../checkpoint/control/inspect.ts";
import { readArguments } from "../arguments.ts";
import { paint, printable } from "../color.ts";
import { type Command, type Terminal, UsageError } from "../command.ts";
import { CONTROL_EXITS, CONTROL_FOLDER, withHost } from "../control.ts";
import { Progress } from "../progress.ts";
import { secondsText } from "../units.ts";
import { explain } from "./explain.ts";

const HELP = `\
Prints what a running host knows of one connection: timers that run, Linux's
tcp_info while it is awake, and its image in words, the one that it sleeps in
or would now. It stays as it is: a sleeper sleeps on.

  torpor inspect FOLDER CONNECTION [--json]
  torpor inspect FILE              an image in words, as torpor explain

  --json   one object: { id, state, tcp, fields, timers, info, image }
  --help   print this

  torpor inspect ./connections 10.7.0.1:80-10.9.0.4:51312
  torpor inspect ./connections 10.7.0.1:80-10.9.0.4:51312 --json | jq .info.rtt

${CONTROL_FOLDER}
${CONTROL_EXITS}`;

/** `torpor inspect`. */
export const inspect: Command = {
  name: "inspect",
  summary: "prints a running host's connection: timers, tcp_info, image",
  help: HELP,
  run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder, id, more] } = readArguments(args);
    if (folder !== undefined && id === undefined && statSync(folder, { throwIfNoEntry: false })?.isFile()) {
      return Promise.resolve(explain.run(args, terminal));
    }
    if (folder !== undefined && id === undefined) throw new UsageError("which connection? ls lists them");
    if (more !== undefined) throw new UsageError(`one connection, not "${more}" as well`);
    return withHost(folder, "inspect", terminal, async (client) => {
      const progress = new Progress(terminal); // the image of a sleeper may lie on a slow disk
      progress.show(`looking at ${printable(id!)}`);
      const inspected = await client.inspect(id!);
      progress.end();
      terminal.out(json ? `${JSON.stringify(inspected)}\n` : textOf(inspected, terminal));
    });
  },
};

function textOf({ id, state, tcp, timers, info, image }: Inspected, terminal: Terminal): string {
  const lines = [`${paint(terminal, "bold", printable(id))} is ${state}, ${tcp}`];
  const running = Object.entries(timers).map(([name, ms]) =>
    `${name} in ${secondsText(Math.max(0, ms) / 1_000)}`
  );
  lines.push(`timers: ${running.length === 0 ? "none runs" : running.join(", ")}`);
  if (info !== undefined) {
    lines.push("tcp_info:");
    let line = "";
    for (const [name, value] of Object.entries(info)) {
      const word = `${name}:${value}`;
      if (line.length + word.length > 76) {
        lines.push(`  ${line.trimEnd()}`);
        line = "";
      }
      line += `${word} `;
    }
    lines.push(`  ${line.trimEnd()}`);
  }
  lines.push(image.location === undefined ? "it would sleep as:" : `it sleeps at ${image.location}:`);
  return `${lines.join("\n")}\n${printable(image.text)}`;
}
