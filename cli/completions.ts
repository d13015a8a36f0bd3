import type { Command } from "./command.ts";

/** Shells that `torpor completions` writes for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = typeof SHELLS[number];

/** The options that a command's help lists. */
function optionsOf({ help }: Command): string[] {
  return [...new Set([...help.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, option]) => option!))].sort();
}

/** A script that completes commands, their options and files, in a shell's own language. */
export function completionsFor(shell: Shell, commands: readonly Command[]): string {
  const flat = commands.flatMap((each): [path: string, command: Command][] => [
    [each.name, each],
    ...(each.commands ?? []).map((sub): [string, Command] => [`${each.name} ${sub.name}`, sub]),
  ]);
  return { bash, zsh, fish }[shell](commands, flat);
}

type Flat = readonly [path: string, command: Command][];

function words(commands: readonly Command[]): string {
  return commands.map(({ name }) => name).join(" ");
}

function bash(commands: readonly Command[], flat: Flat): string {
  const cases = flat.map(([path, command]) =>
    `    "${path}") words="${[words(command.commands ?? []), ...optionsOf(command)].join(" ").trim()}" ;;`
  );
  const groups = commands.filter((each) => each.commands !== undefined).map(({ name }) => name).join("|");
  return `# bash completion of torpor: torpor completions bash > /etc/bash_completion.d/torpor
_torpor() {
  local word="\${COMP_WORDS[COMP_CWORD]}" path="\${COMP_WORDS[1]}" words=""
  if [ "$COMP_CWORD" -le 1 ]; then
    COMPREPLY=($(compgen -W "${words(commands)} --help" -- "$word"))
    return
  fi
  case "$path" in ${groups}) [ "$COMP_CWORD" -gt 2 ] && path="$path \${COMP_WORDS[2]}" ;; esac
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [ "\${#COMPREPLY[@]}" -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}
complete -o filenames -F _torpor torpor
`;
}

function zsh(commands: readonly Command[], flat: Flat): string {
  return `#compdef torpor
# zsh completion of torpor: torpor completions zsh > a folder of $fpath, as _torpor
autoload -U +X bashcompinit && bashcompinit
${bash(commands, flat).split("\n").slice(1).join("\n")}`;
}

function fish(commands: readonly Command[], flat: Flat): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "\\'")}'`;
  const lines = commands.map(({ name, summary }) =>
    `complete -c torpor -f -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`
  );
  for (const [path, command] of flat) {
    const [name, sub] = path.split(" ");
    const when = `__fish_seen_subcommand_from ${name}${
      sub === undefined ? "" : `; and __fish_seen_subcommand_from ${sub}`
    }`;
    for (const each of command.commands ?? []) {
      lines.push(`complete -c torpor -f -n ${quoted(when)} -a ${each.name} -d ${quoted(each.summary)}`);
    }
    for (const option of optionsOf(command)) {
      lines.push(`complete -c torpor -n ${quoted(when)} -l ${option.slice(2)}`);
    }
  }
  return `# fish completion of torpor: torpor completions fish > ~/.config/fish/completions/torpor.fish
${lines.join("\n")}
`;
}
