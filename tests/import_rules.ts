/**
 * A rule about what the files of some folders may import and name. A file answers to every rule that
 * covers it.
 */
export interface ImportRule {
  /** What the rule says, for the message of a failure. */
  rule: string;
  /** Beginnings of the paths of the files that it covers. */
  of: readonly string[];
  /** Beginnings of those that it spares. */
  except?: readonly string[];
  /** Beginnings of the paths of our files that may be imported; all when absent. */
  ours?: readonly string[];
  /** Specifiers of others (`node:fs`, `cbor-x/encode`) that may be imported; all when absent. `*` ends a prefix. */
  others?: readonly string[];
  /** Specifiers of others that may not be imported. */
  never?: readonly string[];
  /** Names that may not stand in the code; in comments and strings they may. */
  names?: readonly string[];
}

/** Each breach of a rule by a file, as `path:line: what (rule)`. */
export function checkFile(rules: readonly ImportRule[], path: string, source: string): string[] {
  const { code, strings } = scan(source);
  const imports = findImports(code, strings);
  const failures: string[] = [];
  for (const rule of rules) {
    if (!begins(path, rule.of) || begins(path, rule.except ?? [])) continue;
    const fail = (at: number, what: string): void => {
      failures.push(`${path}:${source.slice(0, at).split("\n").length}: ${what} (${rule.rule})`);
    };
    for (const { at, specifier } of imports) {
      const ours = pathOf(path, specifier);
      const allowed = ours === undefined
        ? (rule.others?.some((pattern) => matches(specifier, pattern)) ?? true) &&
          !rule.never?.some((pattern) => matches(specifier, pattern))
        : rule.ours === undefined || begins(ours, rule.ours);
      if (!allowed) fail(at, `imports "${specifier}"`);
    }
    for (const name of rule.names ?? []) {
      const pattern = new RegExp(`(?<![\\w$.#])${name.replace(".", "\\s*\\.\\s*")}(?![\\w$])`, "g");
      for (const { index } of code.matchAll(pattern)) fail(index, `names ${name}`);
    }
  }
  return failures;
}

function begins(path: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => path.startsWith(prefix));
}

function matches(specifier: string, pattern: string): boolean {
  return pattern.endsWith("*") ? specifier.startsWith(pattern.slice(0, -1)) : specifier === pattern;
}

/** The path of our file that `specifier` means inside the file at `path`; undefined for a file of others. */
function pathOf(path: string, specifier: string): string | undefined {
  const self = /^@torpor\/torpor(?:\/(.+))?$/.exec(specifier);
  if (self) return self[1] ?? "mod.ts";
  if (!specifier.startsWith(".")) return undefined;
  const parts = path.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** What an import is called whose specifier is computed. */
export const COMPUTED = "(computed)";

/** Words that make the string behind them a specifier: static, bare, dynamic and type imports, re-exports, require. */
const BEFORE_SPECIFIER =
  /(?<![\w$.#])(?:from|import|(?:import|require|(?:process\s*\.\s*)?getBuiltinModule)\s*\()\s*$/;
const CALL = /(?<![\w$.#])(?:import|require|(?:process\s*\.\s*)?getBuiltinModule)\s*\(\s*(?!["'`\s)])/g;

function findImports(
  code: string,
  strings: ReadonlyMap<number, string>,
): { at: number; specifier: string }[] {
  const imports: { at: number; specifier: string }[] = [];
  for (const [at, specifier] of strings) {
    const opened = code[at] !== "}"; // else it goes on behind a template's ${}
    if (opened && BEFORE_SPECIFIER.test(code.slice(Math.max(0, at - 80), at))) {
      imports.push({ at, specifier });
    }
  }
  for (const { index } of code.matchAll(CALL)) imports.push({ at: index, specifier: COMPUTED });
  return imports.sort((a, b) => a.at - b.at);
}

/** Behind these a `/` begins a regular expression, not a division. */
const BEFORE_REGEX =
  /(?:^|[-+*%&|^!~<>=?:;,([{}/]|(?<![\w$.])(?:return|typeof|case|in|of|do|else|void|delete|await|yield|throw))\s*$/;

/**
 * The source with spaces for comments and for the insides of strings and regular expressions, so that offsets and
 * lines stay, and the strings by the offset of their opening quote. What stands in a template's `${}` is code; each
 * part of the template outside of it is a string, which begins at the quote or at a `}`.
 */
export function scan(source: string): { code: string; strings: Map<number, string> } {
  const strings = new Map<number, string>();
  const braces: number[] = []; // for each open template literal: braces open inside its `${}`
  let code = "";
  let at = 0;
  const blank = (end: number): void => {
    code += source.slice(at, end).replace(/[^\n]/g, " ");
    at = end;
  };
  const find = (text: string): number => {
    const found = source.indexOf(text, at);
    return found < 0 ? source.length : found;
  };
  const close = (quote: string): void => {
    if (source[at] !== quote) return; // unfinished
    code += quote;
    at++;
  };
  /** From behind a quote to the closing one, or in a template to `${`. */
  const string = (quote: string): void => {
    let end = at;
    while (end < source.length && source[end] !== quote && !(quote === "`" && source.startsWith("${", end))) {
      end += source[end] === "\\" ? 2 : 1;
    }
    strings.set(at - 1, source.slice(at, end));
    blank(Math.min(end, source.length));
    if (source.startsWith("${", at)) {
      code += "  ";
      at += 2;
      braces.push(0);
    } else close(quote);
  };
  const regex = (): void => {
    let end = at + 1;
    for (let inClass = false; end < source.length && source[end] !== "\n"; end++) {
      const char = source[end];
      if (char === "\\") end++;
      else if (char === "[") inClass = true;
      else if (char === "]") inClass = false;
      else if (char === "/" && !inClass) break;
    }
    code += "/";
    at++;
    blank(Math.min(end, source.length));
    close("/");
  };
  while (at < source.length) {
    const char = source[at]!;
    if (source.startsWith("//", at)) blank(find("\n"));
    else if (source.startsWith("/*", at)) blank(Math.min(find("*/") + 2, source.length));
    else if (char === "/" && BEFORE_REGEX.test(code.slice(-24))) {
      regex();
    } else {
      code += char;
      at++;
      if (char === '"' || char === "'" || char === "`") string(char);
      else if (char === "{" && braces.length > 0) braces.push(braces.pop()! + 1);
      else if (char === "}" && braces.length > 0) {
        const open = braces.pop()!;
        if (open > 0) braces.push(open - 1);
        else string("`");
      }
    }
  }
  return { code, strings };
}
