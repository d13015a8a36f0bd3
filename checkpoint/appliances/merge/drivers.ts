import { ApplianceError } from "../appliance_error.ts";
import { mergeAlternatives } from "./alternatives.ts";
import { mergeLibraries } from "./libraries.ts";
import { mergeGroups, mergeLines, mergeTriples, mergeUsers } from "./lines.ts";
import { mergePackages, mergeStanzas } from "./stanzas.ts";

/** What one appliance made of a file. */
export interface Side {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What a driver makes of a file that several changed: bytes, nothing at all, or what cannot be reconciled, in words. */
export type Merged =
  | { readonly bytes: Uint8Array }
  | { readonly remove: true }
  | { readonly conflicts: readonly string[] };

/** Merges what several made of one file; `base` is `undefined` when it is new. */
export type Driver = (base: Uint8Array | undefined, sides: readonly Side[]) => Merged;

/** Every driver by the name that policies use. */
export const DRIVERS = {
  /** Stanzas of packages, as dpkg's status has them: two versions of one package are a conflict. */
  packages: mergePackages,
  /** Stanzas by their first field, as debconf has them. */
  stanzas: mergeStanzas,
  /** passwd and shadow: lines by their first field. */
  users: mergeUsers,
  /** group and gshadow: the same, and members of one group are those of all sides. */
  groups: mergeGroups,
  /** A set of lines. */
  lines: mergeLines,
  /** A set of three lines each, as diversions are. */
  triples: mergeTriples,
  /** The choices of one of Debian's alternatives. */
  alternatives: mergeAlternatives,
  /** What the dynamic loader finds libraries by. */
  libraries: mergeLibraries,
  /** Logs: what each side wrote behind what was there. */
  append: mergeAppended,
  /** Caches, which whoever needs them makes anew. */
  drop: (): Merged => ({ remove: true }),
} as const satisfies Record<string, Driver>;

/** The name of a driver. */
export type DriverName = keyof typeof DRIVERS;

/** Runs a driver; what it cannot read is a conflict, in its words. */
export function runDriver(name: DriverName, base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  try {
    return DRIVERS[name](base, sides);
  } catch (error) {
    if (error instanceof ApplianceError) return { conflicts: [error.message] };
    throw error;
  }
}

function mergeAppended(base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  const start = base ?? new Uint8Array(0);
  for (const { name, bytes } of sides) {
    if (bytes.length < start.length || start.some((byte, at) => byte !== bytes[at])) {
      return { conflicts: [`${name} changed what was there already`] };
    }
  }
  const parts = [start, ...sides.map(({ bytes }) => bytes.subarray(start.length))];
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { bytes };
}
