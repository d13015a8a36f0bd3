import type { Analysis, AnalyzedFunction } from "./analysis.ts";
import type { AnyNode } from "./nodes.ts";

/** Why `now` cannot take the place of `old`, as its callers and the variables around it are those of `old`. */
export function compatible(
  before: Analysis,
  after: Analysis,
  old: AnalyzedFunction | undefined,
  now: AnalyzedFunction,
): string | undefined {
  if (now.why !== undefined && old !== undefined) return now.why;
  if (now.uses.newTarget) return "it uses new.target, which is not passed on";
  const unknown = unknownPrivate(before, now);
  if (unknown !== undefined) return unknown;
  for (const { name, where, writes } of now.outward) {
    if (where !== "module") continue;
    const was = before.symbols.get(name);
    const is = after.symbols.get(name)!;
    if (was !== undefined && (was.kind !== is.kind || was.from !== is.from)) {
      return `"${name}" was ${said(was)} and is ${said(is)}`;
    }
    if (writes && was?.kind === "const") return `it assigns to "${name}", which is a constant of the module`;
  }
  if (now.uses.super && (now.member === undefined || now.inClass === undefined || now.parent !== undefined)) {
    return "it uses super outside a class's own methods";
  }
  if (old === undefined) return undefined;
  if (old.kind !== now.kind) return `it was ${aKind(old)} and is ${aKind(now)}`;
  for (const [word, was, is] of formsOf(old, now)) {
    if (was !== is) return `it was ${was ? "" : "not "}${word} and is ${is ? "" : "not "}so`;
  }
  if (old.arity !== now.arity) {
    return `it takes ${now.arity} parameters and took ${old.arity}: callers see its length`;
  }
  if (!old.uses.arguments && shapeOf(old) !== shapeOf(now)) {
    return `it takes (${shapeOf(now)}) and took (${shapeOf(old)}): what it did not take is not passed on`;
  }
  if (!old.uses.arguments && now.uses.arguments) {
    return "it uses arguments, which the old one does not pass on";
  }
  if (now.kind === "arrow") {
    if (now.uses.this && !old.uses.this) return "it uses this, which the old one does not hold";
    if (now.uses.arguments) return "it uses arguments of the function around it";
  }
  for (const { name, kind } of now.captures) {
    const was = old.captures.find((each) => each.name === name);
    if (was === undefined) {
      return `it uses "${name}" of the function around it, which the old one does not hold`;
    }
    if (was.kind !== kind) return `"${name}" around it was declared by ${was.kind} and is by ${kind}`;
    const writes = now.outward.some((each) => each.name === name && each.where === "closure" && each.writes);
    if (kind === "const" && writes) return `it assigns to "${name}", which is a constant around it`;
  }
  return undefined;
}

function formsOf(
  { node: old }: AnalyzedFunction,
  { node: now }: AnalyzedFunction,
): [word: string, was: boolean, is: boolean][] {
  return [["async", old.async, now.async], ["a generator", old.generator, now.generator]];
}

function aKind({ kind }: AnalyzedFunction): string {
  return kind === "get"
    ? "a getter"
    : kind === "set"
    ? "a setter"
    : `a${kind === "arrow" ? "n" : ""} ${kind}`;
}

function said({ kind, from }: { kind: string; from: string }): string {
  return from === "" ? kind : `an import from ${from}`;
}

/** How many are passed, and whether the rest is: `2`, `2, ...`. */
function shapeOf({ node: { params } }: AnalyzedFunction): string {
  const rest = params.at(-1)?.type === "RestElement";
  return rest ? `${params.length - 1}, ...` : `${params.length}`;
}

/** Private names cannot be added to a class that exists. */
function unknownPrivate(before: Analysis, now: AnalyzedFunction): string | undefined {
  if (now.uses.privates.size === 0) return undefined;
  if (now.inClass === undefined) return "it uses private names of a class that is made in a function";
  const owner = before.classes.find(({ name }) => name === now.inClass!.name);
  const members = ((owner?.node["body"] as AnyNode | undefined)?.["body"] ?? []) as AnyNode[];
  const known = new Set(members.map((member) => {
    const key = member["key"] as AnyNode | undefined;
    return key?.type === "PrivateIdentifier" ? key["name"] : undefined;
  }));
  for (const name of now.uses.privates) {
    if (!known.has(name)) return `it uses #${name}, which class ${now.inClass.name} does not have`;
  }
  return undefined;
}
