/** Comments become blanks, line for line, but not in strings, shell commands and code. */
export function stripComments(text: string): string {
  const parts = /`[^`]*`|%\{[\s\S]*?\}%|"(?:[^"\\\n]|\\.)*"|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text.replace(parts, (part) => part.startsWith("/") ? part.replace(/[^\n]/g, " ") : part);
}

/** Keeps one branch of `#ifdef NAME`, `#ifndef NAME`, `#else`, `#endif`; the other becomes empty lines. */
export function chooseBranches(text: string, defined: ReadonlySet<string>): string {
  const branches: boolean[] = [];
  return text.split("\n").map((line) => {
    const directive = /^\s*#\s*(ifdef|ifndef|else|endif)\b\s*(\w*)/.exec(line);
    if (directive === null) return branches.every((kept) => kept) ? line : "";
    const [, word, name] = directive;
    if (word === "ifdef") branches.push(defined.has(name!));
    else if (word === "ifndef") branches.push(!defined.has(name!));
    else if (word === "else") branches.push(!branches.pop());
    else branches.pop();
    return "";
  }).join("\n");
}

/** Puts definitions in the place of the words that stand for them. */
export function substitute(text: string, defines: ReadonlyMap<string, string>): string {
  if (defines.size === 0) return text;
  return text.replace(/[A-Za-z_]\w*/g, (word) => defines.get(word) ?? word);
}
