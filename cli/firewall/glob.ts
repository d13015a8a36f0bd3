import { InputError } from "../command.ts";

/**
 * What a pattern of glob(7) says of a file's name: `*`, `?`, `[a-z]`, `[!a-z]`; a bracket that nothing closes is itself.
 * @throws {InputError} When a range in it ends before it begins.
 */
export function globOf(pattern: string): RegExp {
  const parts = pattern.replace(
    /\[(!?)(\]?[^\]]*)\]|[^\w\s]/g,
    (special: string, not?: string, set?: string) => {
      if (special === "*") return "[^/]*";
      if (special === "?") return "[^/]";
      if (!set) return special.replace(/\W/g, "\\$&");
      return `[${not === "!" ? "^/" : ""}${set.replace(/[\\\][^]/g, "\\$&")}]`;
    },
  );
  try {
    return new RegExp(`^${parts}$`);
  } catch (cause) {
    throw new InputError(`Cannot read the pattern "${pattern}": a range in it ends before it begins`, {
      cause,
    });
  }
}
