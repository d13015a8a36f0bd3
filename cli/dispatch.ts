import { type Command, EXIT_BAD_INPUT, InputError, type Terminal, UsageError } from "./command.ts";

/**
 * Runs the one of `commands` that `args` begin with.
 * @param prefix How these commands are called: `torpor`, `torpor store`.
 * @param help What stands for all of them.
 * @returns The exit code.
 */
export async function dispatch(
  commands: readonly Command[],
  prefix: string,
  help: string,
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    const about = commands.find((each) => each.name === rest[0]);
    terminal.out(about?.help ?? help);
    return name === undefined ? EXIT_BAD_INPUT : 0;
  }
  const command = commands.find((each) => each.name === name);
  if (command === undefined) {
    terminal.err(`${prefix}: there is no command "${name}"; ${prefix} --help lists them\n`);
    return EXIT_BAD_INPUT;
  }
  if (command.commands !== undefined) {
    return await dispatch(command.commands, `${prefix} ${name}`, command.help, rest, terminal);
  }
  const ours = command.passes ? rest.slice(0, [...rest, "--"].indexOf("--")) : rest;
  if (ours.includes("--help") || ours.includes("-h")) {
    terminal.out(command.help);
    return 0;
  }
  try {
    return await command.run(rest, terminal);
  } catch (error) {
    if (!isExpected(error)) throw error;
    const hint = error instanceof UsageError ? `; ${prefix} ${name} --help tells more` : "";
    terminal.err(`${prefix} ${name}: ${error.message}${hint}\n`);
    return EXIT_BAD_INPUT;
  }
}

/** Mistakes of the command line, of files and of the file system; everything else is a bug. */
function isExpected(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  if (error instanceof UsageError || error instanceof InputError) return true;
  if (EXPECTED.has(error.name)) return true;
  const { code } = error as { code?: unknown };
  return typeof code === "string" && (/^E[A-Z]+$/.test(code) || code.startsWith("ERR_PARSE_ARGS"));
}

/** What our own modules throw for files and folders that cannot be used. */
const EXPECTED: ReadonlySet<string> = new Set([
  "FirewallError",
  "FirewallSyntaxError",
  "LinkError",
  "StoreError",
  "ImageError",
  "CriuError",
  "ArchiveError",
  "ApplianceError",
  "LaunchError",
  "PatchError",
]);

/** The names of commands and what they do, a line each. */
export function listed(commands: readonly Command[]): string {
  return commands.map(({ name, summary }) => `  ${name.padEnd(13)}${summary}`).join("\n");
}

/** Several commands under one name. */
export function group(name: string, summary: string, about: string, commands: readonly Command[]): Command {
  const help = `${about}\n
  torpor ${name} COMMAND [options]

${listed(commands)}

  torpor ${name} COMMAND --help tells the rest. NO_COLOR turns colours off.
`;
  const run = (args: string[], terminal: Terminal): Promise<number> =>
    dispatch(commands, `torpor ${name}`, help, args, terminal);
  return { name, summary, help, commands, run };
}
