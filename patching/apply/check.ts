import type { Patch, PatchFunction, PatchUnit } from "../image/patch.ts";
import { PatchError } from "../patch_error.ts";
import { isCalled, type ModuleState } from "./module_state.ts";

/**
 * The loaded module that a unit is for.
 * @throws {PatchError} `module`, `base`, `applied`.
 */
export function moduleFor(patch: Patch, unit: PatchUnit, states: readonly ModuleState[]): ModuleState {
  const cannot = `Cannot apply patch "${patch.name}"`;
  const called = states.filter((state) => isCalled(state, unit));
  const fitting = called.filter(({ hash }) => hash === unit.base);
  if (fitting.length === 1) return fitting[0]!;
  if (fitting.length > 1) {
    throw new PatchError("module", `${cannot}: module "${unit.module}" is loaded ${fitting.length} times`);
  }
  if (called.length === 0) {
    const names = states.map(({ record: { name } }) => name);
    const there = names.length === 0 ? "none is loaded that can be patched" : `there are ${names.join(", ")}`;
    throw new PatchError("module", `${cannot}: no module "${unit.module}": ${there}`);
  }
  const runs = called[0]!.hash;
  if (runs === unit.result) {
    throw new PatchError("applied", `${cannot}: module "${unit.module}" is the version that it would make`);
  }
  throw new PatchError(
    "base",
    `${cannot}: module "${unit.module}" runs version ${runs.slice(0, 12)}, it is for ${
      unit.base.slice(0, 12)
    }`,
  );
}

/**
 * Checks all that a unit says of its module: functions by their hashes and forms, symbols by their kinds.
 * @throws {PatchError} Naming the first function or symbol that does not fit.
 */
export function checkUnit(patch: Patch, unit: PatchUnit, state: ModuleState): void {
  for (const each of unit.functions) checkFunction(patch, unit, each, state);
  checkSymbols(patch, unit, state);
}

function checkFunction(patch: Patch, unit: PatchUnit, each: PatchFunction, state: ModuleState): void {
  const refuse = (reason: ConstructorParameters<typeof PatchError>[0], why: string): never => {
    const message = `Cannot apply patch "${patch.name}": ${each.id} of "${unit.module}": ${why}`;
    throw new PatchError(reason, message, { function: each.id });
  };
  if (each.isNew) {
    const member = state.memberOf(each.id);
    if (member === undefined) return refuse("function", "there is no such class");
    if (state.functions.has(each.id) || state.methods.has(each.id)) refuse("function", "it is there already");
    if (each.kind !== "method") refuse("kind", "only methods can be added");
    return;
  }
  const method = state.methods.get(each.id);
  if (method !== undefined) {
    // A method that a patch has added: it is replaced as a property, by one of the same form.
    if (method.hash !== each.oldHash) refuse("function", "another version of it runs");
    checkForm(each, method.record, refuse);
    return;
  }
  const found = state.functions.get(each.id);
  if (found === undefined) {
    const why = state.record.unpatchable.find(([id]) => id === each.id)?.[1];
    return refuse(why === undefined ? "function" : "unpatchable", why ?? "there is no such function");
  }
  if (found.hash !== each.oldHash) refuse("function", "another version of it runs");
  checkForm(each, found.record, refuse);
  for (let end = each.id.lastIndexOf("/"); end > 0; end = each.id.lastIndexOf("/", end - 1)) {
    const outer = each.id.slice(0, end);
    if (state.functions.get(outer)?.counter !== undefined) {
      refuse("function", `it is in ${outer}, which a patch has replaced: replace that, or roll back first`);
    }
  }
}

function checkForm(
  each: PatchFunction,
  [, , kind, flags, arity]: ModuleState["record"]["functions"][number],
  refuse: (reason: "kind" | "arity", why: string) => never,
): void {
  if (kind !== each.kind) refuse("kind", `its kind is ${kind}, the patch's is ${each.kind}`);
  if (((flags & 1) !== 0) !== each.isAsync) refuse("kind", `it is ${each.isAsync ? "not " : ""}async`);
  if (((flags & 2) !== 0) !== each.isGenerator) {
    refuse("kind", `it is ${each.isGenerator ? "no" : "a"} generator`);
  }
  if (arity !== each.arity) refuse("arity", `it takes ${arity} parameters, the patch's takes ${each.arity}`);
}

function checkSymbols(patch: Patch, unit: PatchUnit, state: ModuleState): void {
  const mine = new Set([...unit.added?.names ?? [], ...unit.added?.imports ?? []].map(({ name }) => name));
  for (const name of mine) {
    if (state.symbols.has(name)) {
      throw new PatchError(
        "symbol",
        `Cannot apply patch "${patch.name}": "${name}" is there already in "${unit.module}"`,
      );
    }
  }
  const used = usersOf(unit);
  for (const [index, { name, scope, kind, arity, from }] of unit.symbols.entries()) {
    const user = used.get(index);
    const refuse = (why: string, reason: "symbol" | "captured" = "symbol"): never => {
      const where = user === undefined ? "" : `, which ${user} uses,`;
      const message = `Cannot apply patch "${patch.name}": "${name}"${where} ${why} in "${unit.module}"`;
      throw new PatchError(reason, message, { function: user });
    };
    if (scope === "module" || scope === "import") {
      const found = state.symbols.get(name);
      if (found === undefined) refuse("is not there");
      else if (found.kind !== kind) refuse(`is declared by ${found.kind}, not by ${kind}`);
      else if (found.arity !== arity) refuse(`takes ${found.arity} parameters, not ${arity}`);
      else if (found.from !== from) refuse(`is imported from ${found.from}, not from ${from}`);
    } else if (scope === "added" && !mine.has(name)) refuse("is not declared");
    else if (scope === "global" && !(name in globalThis) && !GIVEN.has(name)) refuse("is no global name");
  }
  for (const each of unit.functions) {
    const captures = state.functions.get(each.id)?.record[8] ?? [];
    for (const { symbol, form } of each.relocations) {
      const { name, scope } = unit.symbols[symbol] ?? { name: "", scope: "global" };
      if (form === "enter" || form === "leave" || form === "enterExpression" || form === "leaveExpression") {
        continue;
      }
      if (scope === "closure" && !captures.includes(name)) {
        const message =
          `Cannot apply patch "${patch.name}": ${each.id} uses "${name}", which the old one does not hold`;
        throw new PatchError("captured", message, { function: each.id });
      }
    }
  }
}

/** Names that every function has, or that none has to. */
const GIVEN: ReadonlySet<string> = new Set(["arguments", "undefined"]);

/** Who uses a symbol, for messages: one function of those that are bound to it. */
function usersOf(unit: PatchUnit): Map<number, string> {
  const users = new Map<number, string>();
  for (const { id, relocations } of unit.functions) {
    for (const { symbol, form } of relocations) {
      if (form === "name" || form === "shorthand" || form === "call") users.set(symbol, id);
    }
  }
  return users;
}
