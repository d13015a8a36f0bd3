import { type Command, EXIT_BAD_INPUT, InputError, type Terminal, UsageError } from "./command.ts";
import { explain } from "./commands/explain.ts";
import { replay } from "./commands/replay.ts";

const COMMANDS: readonly Command[] = [replay, explain];

const HELP = `torpor: connections that sleep, and what is to be done about them

  torpor COMMAND [options]

${COMMANDS.map(({ name, summary }) => `  ${name.padEnd(10)}${summary}`).join("\n")}

  torpor COMMAND --help tells the rest. NO_COLOR turns colours off.
`;

/**
 * Runs the command line `args`.
 * @returns The exit code.
 */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    const about = COMMANDS.find((each) => each.name === rest[0]);
    terminal.out(about?.help ?? HELP);
    return name === undefined ? EXIT_BAD_INPUT : 0;
  }
  const command = COMMANDS.find((each) => each.name === name);
  if (command === undefined) {
    terminal.err(`torpor: there is no command "${name}"; torpor --help lists them\n`);
    return EXIT_BAD_INPUT;
  }
  if (rest.includes("--help") || rest.includes("-h")) {
    terminal.out(command.help);
    return 0;
  }
  try {
    return await command.run(rest, terminal);
  } catch (error) {
    if (!isExpected(error)) throw error;
    const hint = error instanceof UsageError ? `; torpor ${name} --help tells more` : "";
    terminal.err(`torpor ${name}: ${error.message}${hint}\n`);
    return EXIT_BAD_INPUT;
  }
}

/** Mistakes of the command line, of files and of the file system; everything else is a bug. */
function isExpected(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  if (error instanceof UsageError || error instanceof InputError) return true;
  const { code } = error as { code?: unknown };
  return typeof code === "string" && (/^E[A-Z]+$/.test(code) || code.startsWith("ERR_PARSE_ARGS"));
}
