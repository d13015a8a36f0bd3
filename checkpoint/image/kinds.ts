/** What an image holds: the second element of its array. Codes are for ever; 0 is never used. */
export const Kind = {
  Socket: 1,
  Guest: 2,
  Patch: 3,
  Diff: 4,
  Layer: 5,
  Volume: 6,
  Object: 7,
  Rollout: 8,
  Node: 9,
  Evidence: 10,
  Firewall: 11,
  Replay: 12,
  Stretch: 13,
  Archive: 14,
} as const;
/** What an image is of. */
export type Kind = (typeof Kind)[keyof typeof Kind];

/** How a kind's body is understood. */
export interface KindInfo {
  readonly name: string;
  /** The version written today; images of versions 1 up to this one can be read. */
  version: number;
  /**
   * Names of the body's fields in their order, when the body is an array; `explain` shows them.
   * Empty while nobody has registered any.
   */
  fields: readonly string[];
  /** When a field `later` holds places: what stands at each place. */
  places: readonly string[];
}

const KINDS = new Map<number, KindInfo>(
  Object.entries(Kind).map((
    [name, code],
  ) => [code, { name: name.toLowerCase(), version: 1, fields: [], places: [] }]),
);

/** The kind with this code, or `undefined` when this Torpor knows none. */
export function kindInfo(code: number): KindInfo | undefined {
  return KINDS.get(code);
}

/** A kind's name for messages: `socket`, or `kind 99`. */
export function kindName(code: number): string {
  return KINDS.get(code)?.name ?? `kind ${code}`;
}

/**
 * Says what version of `kind` is written today and how its fields are called. The owner of a kind
 * calls this once, when its module is loaded.
 */
export function registerKind(
  kind: Kind,
  version: number,
  fields: readonly string[],
  places: readonly string[] = [],
): void {
  Object.assign(KINDS.get(kind)!, { version, fields, places });
}
