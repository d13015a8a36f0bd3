import type { PatchUnit, SymbolKind } from "../image/patch.ts";
import type { FunctionRecord, ModuleRecord } from "./module_record.ts";

/** A name of a module as it is now. */
export interface SymbolState {
  readonly kind: SymbolKind;
  readonly arity: number;
  readonly from: string;
  /** Whether a patch has declared it. */
  readonly byPatch: boolean;
}

/** A function of a module as it is now. */
export interface FunctionState {
  readonly slot: number;
  readonly record: FunctionRecord;
  /** Of the code that runs. */
  hash: string;
  /** Calls under way of the code that a patch has brought; of the module's own, the module counts. */
  counter: { count: number } | undefined;
}

/** A loaded module with all that patches have made of it. */
export class ModuleState {
  readonly record: ModuleRecord;
  /** The version that runs. */
  hash: string;
  /** By name. */
  readonly functions: Map<string, FunctionState> = new Map();
  readonly symbols: Map<string, SymbolState> = new Map();
  /** What patches have declared, newest first on the chain of prototypes. */
  added: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  /** Methods that patches have added, by name, and the counters of their calls. */
  readonly methods: Map<string, FunctionState> = new Map();

  constructor(record: ModuleRecord) {
    this.record = record;
    this.hash = record.hash;
    record.functions.forEach((each, slot) => {
      this.functions.set(each[0], { slot, record: each, hash: each[1], counter: undefined });
    });
    for (const [name, kind, arity, from] of record.symbols) {
      this.symbols.set(name, { kind, arity, from, byPatch: false });
    }
  }

  /** Calls of a function that are under way. */
  active(id: string): number {
    const state = this.functions.get(id);
    if (state === undefined) return this.methods.get(id)?.counter?.count ?? 0;
    return state.counter === undefined ? this.record.count(state.slot) : state.counter.count;
  }

  /** The class of a member, and what it is called there: `Room.prototype.say`. */
  memberOf(id: string): { index: number; isStatic: boolean; key: string } | undefined {
    for (const [index, name] of this.record.classes.entries()) {
      for (const [prefix, isStatic] of [[`${name}.prototype.`, false], [`${name}.`, true]] as const) {
        if (!id.startsWith(prefix) || id.includes("/")) continue;
        return { index, isStatic, key: id.slice(prefix.length).replace(/^[gs]et /, "") };
      }
    }
    return undefined;
  }
}

/** Whether a module's URL, or its name, ends as a unit says. */
export function isCalled({ record: { name, meta } }: ModuleState, { module }: PatchUnit): boolean {
  return [name, meta.url.replace(/[?#].*$/, "")].some((each) =>
    each === module || each.endsWith(`/${module}`)
  );
}
