import type { Family, Ruleset } from "../schema.ts";
import type { At, Source } from "./raw.ts";
import type { SetShape } from "./sets.ts";

/** What is known of sets while a document is read: `add element` must know of which type they are. */
export class KnownSets {
  readonly #shapes: Map<string, SetShape> = new Map();

  constructor(before: Ruleset) {
    for (const { family, name: table, sets } of before.tables) {
      for (const set of sets) this.add(family, table, set.name, set);
    }
  }

  add(family: Family, table: string, name: string, shape: SetShape): void {
    this.#shapes.set(keyOf(family, table, name), shape);
  }

  get(source: Source, at: At, family: Family, table: string, name: string): SetShape {
    const shape = this.#shapes.get(keyOf(family, table, name));
    return shape ?? source.fail(at, `There is no set "${name}" in table ${family} "${table}" yet`);
  }
}

function keyOf(family: Family, table: string, name: string): string {
  return JSON.stringify([family, table, name]);
}
