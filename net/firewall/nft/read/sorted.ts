/** Flags in the order of `all`, each once. */
export function sorted<T>(flags: readonly T[], all: readonly T[]): T[] {
  return all.filter((flag) => flags.includes(flag));
}
