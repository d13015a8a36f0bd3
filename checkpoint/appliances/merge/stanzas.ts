import type { Merged, Side } from "./drivers.ts";
import { bothOf, keyed, mergeKeyed, textOf } from "./keyed.ts";

/** Databases of packages: deb-control(5) stanzas, a package and architecture each. */
export function mergePackages(base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  return merged(base, sides, packageOf, (key, changed) => {
    const versions = changed.map(({ name, entry }) =>
      `${name} has ${entry === undefined ? "removed it" : field(entry, "Version") ?? "it differently"}`
    );
    const [first, ...others] = changed.map(({ entry }) => entry && field(entry, "Version"));
    const same = first !== undefined && others.every((version) => version === first);
    return `package ${key}: ${
      same ? `${bothOf(changed)} have version ${first} in different states` : versions.join(", ")
    }`;
  });
}

/** Stanzas by their first field. */
export function mergeStanzas(base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  return merged(base, sides, firstLine, (key, changed) => `${key}: ${bothOf(changed)} have it differently`);
}

function merged(
  base: Uint8Array | undefined,
  sides: readonly Side[],
  keyOf: (stanza: string) => string,
  why: (
    key: string,
    changed: readonly { readonly name: string; readonly entry: string | undefined }[],
  ) => string,
): Merged {
  const { entries, conflicts } = mergeKeyed(
    keyed(stanzasIn(base), keyOf),
    sides.map(({ name, bytes }) => ({ name, entries: keyed(stanzasIn(bytes), keyOf) })),
    (key, before, changed) => {
      const entry = mergeFields(before, changed);
      return entry === undefined ? { why: why(key, changed) } : { entry };
    },
  );
  if (conflicts.length > 0) return { conflicts };
  return { bytes: new TextEncoder().encode([...entries.values()].map((stanza) => `${stanza}\n\n`).join("")) };
}

function* stanzasIn(bytes: Uint8Array | undefined): Generator<string, void, void> {
  if (bytes === undefined) return;
  for (const stanza of textOf(bytes).split(/\n\n+/)) {
    const whole = stanza.replace(/^\n+|\n+$/g, "");
    if (whole !== "") yield whole;
  }
}

/** Fields that several sides may change, each another one: who owns a question of debconf, what a package waits for. */
function mergeFields(
  base: string | undefined,
  sides: readonly { readonly name: string; readonly entry: string | undefined }[],
): string | undefined {
  const entries = sides.map(({ name, entry }) => ({ name, entry }));
  if (entries.some(({ entry }) => entry === undefined)) return undefined;
  if (sides.some(({ entry }) => fieldsIn(entry!) === undefined)) return undefined;
  const { entries: fields, conflicts } = mergeKeyed(
    base === undefined ? new Map() : fieldsIn(base) ?? new Map(),
    sides.map(({ name, entry }) => ({ name, entries: fieldsIn(entry!)! })),
    (key, before, changed) => {
      const owners = key === "Owners" ? unionOfOwners(before, changed) : undefined;
      return owners === undefined ? { why: key } : { entry: owners };
    },
  );
  return conflicts.length > 0 ? undefined : [...fields.values()].join("\n");
}

/** debconf's `Owners: a, b`. */
function unionOfOwners(
  base: string | undefined,
  sides: readonly { readonly entry: string | undefined }[],
): string | undefined {
  const names = (line: string | undefined): string[] =>
    line === undefined ? [] : line.slice("Owners:".length).split(",").map((name) => name.trim());
  const all = new Set(names(base));
  for (const { entry } of sides) {
    if (entry === undefined) return undefined;
    for (const name of names(entry)) all.add(name);
    for (const name of names(base)) if (!names(entry).includes(name)) all.delete(name);
  }
  return `Owners: ${[...all].sort().join(", ")}`;
}

/** The fields of a stanza with their lines; `undefined` when it has one twice. */
function fieldsIn(stanza: string): Map<string, string> | undefined {
  const fields = new Map<string, string>();
  let last = "";
  for (const line of stanza.split("\n")) {
    if (/^[ \t]/.test(line) && last !== "") fields.set(last, `${fields.get(last)}\n${line}`);
    else {
      last = line.slice(0, line.indexOf(":") >>> 0);
      if (fields.has(last)) return undefined;
      fields.set(last, line);
    }
  }
  return fields;
}

function field(stanza: string, name: string): string | undefined {
  const start = `${name}: `;
  return stanza.split("\n").find((line) => line.startsWith(start))?.slice(start.length);
}

function packageOf(stanza: string): string {
  const architecture = field(stanza, "Architecture");
  return `${field(stanza, "Package") ?? firstLine(stanza)}${
    architecture === undefined ? "" : `:${architecture}`
  }`;
}

function firstLine(stanza: string): string {
  return stanza.slice(0, stanza.indexOf("\n") >>> 0);
}
