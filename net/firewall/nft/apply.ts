import type {
  Chain,
  Command,
  Family,
  InTable,
  NamedCounter,
  NamedLimit,
  NamedQuota,
  NamedSet,
  NftObject,
  NftTarget,
  Rule,
  Ruleset,
  Table,
} from "./schema.ts";
import { checkRuleset } from "./check.ts";
import { type Added, addElements, deleteElements } from "./merge.ts";
import { COMMANDS_MAX, NAMES_MAX } from "./words/limits.ts";

/** Ends with an error that stands at a command. */
export type Refuse = (at: string, message: string) => never;

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type DraftChain = Mutable<Omit<Chain, "rules">> & { rules: Rule[] };
type Draft = Mutable<Omit<Table, "chains" | "sets" | "counters" | "quotas" | "limits">> & {
  chains: DraftChain[];
  sets: Mutable<NamedSet>[];
  counters: NamedCounter[];
  quotas: NamedQuota[];
  limits: NamedLimit[];
};
type Named = { readonly name: string };

/** An empty rule set, as after `flush ruleset`. */
export const NO_RULES: Ruleset = { tables: [] };

/**
 * The rule set after the commands, in order; the one given stays as it is, so a file takes effect as a whole or not at all.
 * What refers to what is checked at the end, as the kernel does when a transaction is committed.
 */
export function applyCommands(before: Ruleset, commands: readonly Command[], refuse: Refuse): Ruleset {
  if (commands.length > COMMANDS_MAX) {
    refuse(commands[COMMANDS_MAX]!.at, `More than ${COMMANDS_MAX} commands`);
  }
  const draft = new RulesetDraft(before, refuse);
  for (const command of commands) draft.run(command);
  draft.settle();
  const after = { tables: draft.tables };
  return checkRuleset(after, (part, message) => refuse(draft.placeOf(part), message));
}

class RulesetDraft {
  readonly tables: Draft[];
  readonly #refuse: Refuse;
  readonly #added: Map<Mutable<NamedSet>, Added[]> = new Map();
  /** Where chains and rules were written. */
  readonly #places: Map<object, string> = new Map();

  constructor(before: Ruleset, refuse: Refuse) {
    this.tables = before.tables.map((table) => ({
      ...table,
      chains: table.chains.map((chain) => ({ ...chain, rules: [...chain.rules] })),
      sets: table.sets.map((set) => ({ ...set })),
      counters: [...table.counters],
      quotas: [...table.quotas],
      limits: [...table.limits],
    }));
    this.#refuse = refuse;
  }

  /** Elements are added when they are asked for, those of many commands at once. */
  #adds(set: Mutable<NamedSet>): Added[] {
    const added = this.#added.get(set) ?? [];
    this.#added.set(set, added);
    return added;
  }

  settle(): void {
    for (const [set, added] of this.#added) set.elem = addElements(set, added, this.#refuse);
    this.#added.clear();
  }

  placeOf(part: object): string {
    return this.#places.get(part) ?? "";
  }

  run(command: Command): void {
    if (command.op === "rename") return this.#rename(command.chain, command.at);
    if ("object" in command) return this.#put(command.op, command.object, command.at);
    this.#remove(command.op, command.target, command.at);
  }

  #put(op: "add" | "create" | "insert" | "replace", object: NftObject, at: string): void {
    if ("table" in object) {
      const { family, name } = object.table;
      const found = this.tables.find((table) => table.family === family && table.name === name);
      if (found !== undefined) {
        this.#existing(op, `table ${family} ${name}`, at);
        found.dormant = object.table.dormant;
        return;
      }
      this.tables.push({ ...object.table, chains: [], sets: [], counters: [], quotas: [], limits: [] });
      return;
    }
    if ("chain" in object) return this.#putChain(op, object.chain, at);
    if ("rule" in object) return this.#putRule(op, object.rule, at);
    if ("set" in object) {
      const { family, table, ...set } = object.set;
      const { sets } = this.#table({ family, table }, at);
      const found = sets.find(({ name }) => name === set.name);
      if (found === undefined) {
        if (sets.length === NAMES_MAX) this.#refuse(at, `More than ${NAMES_MAX} sets in a table`);
        this.#places.set(set, at);
        sets.push(set);
        return;
      }
      this.#existing(op, `set ${set.name}`, at);
      const shape = (one: typeof set): string => JSON.stringify([one.type, one.data, one.flags]);
      if (shape(found) !== shape(set)) {
        this.#refuse(at, `Set "${set.name}" is there already, of another type or with other flags`);
      }
      this.#adds(found).push({ elem: set.elem, create: op === "create", at });
      return;
    }
    if ("element" in object) {
      const { name, elem, ...place } = object.element;
      const set = this.#find(this.#table(place, at).sets, name, "set", at);
      this.#adds(set).push({ elem, create: op === "create", at });
      return;
    }
    if ("counter" in object) this.#putNamed(op, "counters", object.counter, at);
    else if ("quota" in object) this.#putNamed(op, "quotas", object.quota, at);
    else this.#putNamed(op, "limits", object.limit, at);
  }

  #putChain(op: string, object: Extract<NftObject, { chain: { name: string } }>["chain"], at: string): void {
    const { family, table, policy, ...chain } = object as Exclude<typeof object, string>;
    const { chains } = this.#table({ family, table }, at);
    const found = chains.find(({ name }) => name === chain.name);
    if (policy !== undefined && found?.base === undefined) {
      this.#refuse(at, "Only chains with a type and a hook have a policy");
    }
    if (found === undefined) {
      if (chains.length === NAMES_MAX) this.#refuse(at, `More than ${NAMES_MAX} chains in a table`);
      const made = { ...chain, rules: [] };
      this.#places.set(made, at);
      chains.push(made);
      return;
    }
    this.#existing(op, `chain ${chain.name}`, at);
    if (policy !== undefined) found.base = { ...found.base!, policy };
    if (chain.base === undefined) return;
    const place = (one: Omit<Chain, "rules">): string =>
      `${one.base?.type} ${one.base?.hook} ${one.base?.prio}`;
    if (found.base === undefined || place(found) !== place(chain)) {
      this.#refuse(at, `Chain "${chain.name}" is there already, of another type, hook or priority`);
    }
    found.base = chain.base;
  }

  #putRule(
    op: "add" | "create" | "insert" | "replace",
    object: Extract<NftObject, { rule: unknown }>["rule"],
    at: string,
  ): void {
    const { family, table, chain: chainName, index, ...rule } = object;
    const { rules } = this.#find(this.#table({ family, table }, at).chains, chainName, "chain", at);
    this.#places.set(rule, at);
    // A handle on a rule that is added or inserted places it, unless it is a listing's, where no rule has it yet.
    const near = rule.handle === undefined ? -1 : rules.findIndex(({ handle }) => handle === rule.handle);
    if (op === "replace") {
      if (near < 0) this.#refuse(at, `Chain "${chainName}" has no rule with handle ${rule.handle}`);
      rules[near] = rule;
      return;
    }
    const beside = index ?? near;
    if (index !== undefined && index >= rules.length) {
      this.#refuse(at, `Chain "${chainName}" has no rule with index ${index}`);
    }
    const { handle: _, ...placed } = rule;
    const put = near >= 0 ? placed : rule;
    this.#places.set(put, at);
    if (op === "insert") rules.splice(beside < 0 ? 0 : beside, 0, put);
    else if (beside < 0) rules.push(put);
    else rules.splice(beside + 1, 0, put);
  }

  #putNamed(
    op: string,
    list: "counters" | "quotas" | "limits",
    { family, table, ...object }: InTable & Named,
    at: string,
  ): void {
    const objects = this.#table({ family, table }, at)[list] as Named[];
    if (objects.some(({ name }) => name === object.name)) this.#existing(op, `${list} ${object.name}`, at);
    else if (objects.length < NAMES_MAX) objects.push(object);
    else this.#refuse(at, `More than ${NAMES_MAX} ${list} in a table`);
  }

  #remove(op: "delete" | "destroy" | "flush", target: NftTarget, at: string): void {
    this.settle();
    if ("ruleset" in target) {
      const { family } = target.ruleset;
      const left = this.tables.filter((table) => family !== undefined && table.family !== family);
      this.tables.splice(0, Infinity, ...left);
      return;
    }
    const quiet = op === "destroy";
    if ("table" in target) {
      const { family, name } = target.table;
      const index = this.tables.findIndex((table) => table.family === family && table.name === name);
      if (index < 0) return quiet ? undefined : this.#refuse(at, `There is no table ${family} "${name}"`);
      if (op !== "flush") this.tables.splice(index, 1);
      else for (const chain of this.tables[index]!.chains) chain.rules.length = 0;
      return;
    }
    const [[kind, named]] = Object.entries(target) as [
      [string, InTable & Named & { chain: string; handle: number }],
    ];
    if (quiet && !this.tables.some(({ family, name }) => family === named.family && name === named.table)) {
      return;
    }
    const table = this.#table(named, at);
    if (kind === "rule") {
      const { rules } = this.#find(table.chains, named.chain, "chain", at);
      const index = rules.findIndex(({ handle }) => handle === named.handle);
      if (index >= 0) rules.splice(index, 1);
      else if (!quiet) this.#refuse(at, `Chain "${named.chain}" has no rule with handle ${named.handle}`);
      return;
    }
    if ("element" in target) {
      const set = this.#find(table.sets, named.name, "set", at);
      set.elem = deleteElements(set, target.element.elem, quiet, (message) => this.#refuse(at, message));
      return;
    }
    const list: Named[] = table[`${kind}s` as "chains" | "sets" | "counters" | "quotas" | "limits"];
    if (op === "flush") {
      const found = this.#find(list, named.name, kind, at);
      if (kind === "chain") (found as DraftChain).rules.length = 0;
      else if (kind === "set") (found as Mutable<NamedSet>).elem = [];
      else this.#refuse(at, `A ${kind} cannot be flushed`);
      return;
    }
    const index = list.findIndex(({ name }) => name === named.name);
    if (index >= 0) list.splice(index, 1);
    else if (!quiet) {
      this.#refuse(at, `There is no ${kind} "${named.name}" in table ${named.family} "${named.table}"`);
    }
  }

  #rename(named: InTable & Named & { newname: string }, at: string): void {
    const { chains } = this.#table(named, at);
    if (chains.some(({ name }) => name === named.newname)) {
      this.#refuse(at, `There is a chain "${named.newname}" already`);
    }
    this.#find(chains, named.name, "chain", at).name = named.newname;
    this.settle();
    // Whoever jumped there still does.
    for (const chain of chains) {
      chain.rules = chain.rules.map((rule) => {
        const renamed = retarget(rule, named.name, named.newname);
        this.#places.set(renamed, this.#places.get(rule) ?? at);
        return renamed;
      });
    }
    const table = this.#table(named, at);
    for (const set of table.sets) {
      set.elem = set.elem.map((element) => retarget(element, named.name, named.newname));
    }
  }

  #table({ family, table }: { family: Family; table: string }, at: string): Draft {
    const found = this.tables.find((one) => one.family === family && one.name === table);
    return found ?? this.#refuse(at, `There is no table ${family} "${table}"`);
  }

  #find<T extends Named>(list: readonly T[], name: string, what: string, at: string): T {
    return list.find((one) => one.name === name) ?? this.#refuse(at, `There is no ${what} "${name}"`);
  }

  #existing(op: string, what: string, at: string): void {
    if (op === "create") this.#refuse(at, `There is a ${what} already`);
  }
}

/** A rule or element whose jumps to one chain lead to another. */
function retarget<T>(of: T, from: string, to: string): T {
  return JSON.parse(
    JSON.stringify(of),
    (key, value) => (key === "jump" || key === "goto") && value?.target === from ? { target: to } : value,
  );
}
