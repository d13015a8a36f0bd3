import { readArguments } from "../arguments.ts";
import { type Command, type Terminal, UsageError } from "../command.ts";
import { completionsFor, type Shell, SHELLS } from "../completions.ts";

const HELP = `\
Prints a script by which a shell completes torpor's commands and options.

  torpor completions bash|zsh|fish [--json]

  --json   one object, { shell, script }
  --help   print this

  source <(torpor completions bash)
  torpor completions zsh > "\${fpath[1]}/_torpor"
  torpor completions fish > ~/.config/fish/completions/torpor.fish

Exit codes: 0 done, 2 the shell is none of them.
`;

/** `torpor completions`, for the commands that `all` returns. */
export function completions(all: () => readonly Command[]): Command {
  return {
    name: "completions",
    summary: "prints completions for bash, zsh or fish",
    help: HELP,
    run(args: string[], terminal: Terminal): number {
      const { positionals: [shell, more], json } = readArguments(args);
      if (!SHELLS.includes(shell as Shell) || more !== undefined) {
        throw new UsageError(`which shell: ${SHELLS.join(", ")}?`);
      }
      const script = completionsFor(shell as Shell, all());
      terminal.out(json ? `${JSON.stringify({ shell, script })}\n` : script);
      return 0;
    },
  };
}
