import type { AddedCode, Patch, PatchFunction, PatchSymbol, PatchUnit } from "../image/patch.ts";
import { type Analysis, analyze, type AnalyzedFunction, type OutwardReference } from "./analysis.ts";
import { compatible } from "./compatible.ts";
import { emitFunction, emitStatements, SymbolTable } from "./emit.ts";
import { parseSource } from "./source.ts";
import { type Changed, compareStructure } from "./structure.ts";

/** What became of a function, or of something else of a module. */
export interface Finding {
  /** Its name, or what it is: `line 12`. */
  readonly what: string;
  /** `refused` prevents the patch; a `note` does not. */
  readonly verdict: "replaced" | "added" | "refused" | "note";
  /** Why, or what follows from it. */
  readonly why: string;
}

/** What a patch is called, and what it is for. */
export interface PatchAbout {
  readonly name: string;
  readonly version?: string;
  readonly description?: string;
  /** Functions that may be replaced while they run. */
  readonly safe?: readonly string[];
}

/** A patch of two versions of a module, or why there is none. */
export interface Derived {
  /** Absent when something is refused, or nothing has changed. */
  readonly patch: Patch | undefined;
  /** All that differs. */
  readonly findings: readonly Finding[];
}

/**
 * Derives the patch that makes `newer` of `older`, function by function.
 *
 * @param module How the target calls the module: the end of its URL, `chat/rooms.ts`.
 * @throws {PatchError} `source`, when one of them cannot be parsed.
 * @example
 * ```ts
 * import { derivePatch } from "@torpor/torpor/patching/build/derive.ts";
 * const { patch } = derivePatch("greet.js", "export const hi = () => 1;", "export const hi = () => 2;", {
 *   name: "two",
 * });
 * console.log(patch?.units[0]?.functions[0]?.code); // () => 2
 * ```
 */
export function derivePatch(
  module: string,
  older: string,
  newer: string,
  about: PatchAbout,
): Derived {
  const before = analyze(parseSource(module, older));
  const after = analyze(parseSource(module, newer));
  const findings: Finding[] = [];
  const structure = compareStructure(before, after);
  findings.push(...structure.findings);
  const changed = changedFunctions(before, after, structure, findings);
  const table = new SymbolTable();
  const functions: PatchFunction[] = [];
  for (const { old, now } of changed) {
    const why = compatible(before, after, old, now);
    if (why !== undefined) {
      findings.push({ what: now.id, verdict: "refused", why });
      continue;
    }
    functions.push(unitFunction(before, after, old, now, table));
    findings.push({
      what: now.id,
      verdict: old === undefined ? "added" : "replaced",
      why: noteOf(after, old, now),
    });
  }
  const added = addedCode(before, after, structure, table);
  for (const { name } of [...added?.names ?? [], ...added?.imports ?? []]) {
    findings.push({ what: name, verdict: "added", why: "" });
  }
  const safe = about.safe ?? [];
  for (const each of safe) {
    if (!functions.some(({ id }) => id === each)) {
      findings.push({ what: each, verdict: "refused", why: "it is called safe, and is not replaced" });
    }
  }
  const refused = findings.some(({ verdict }) => verdict === "refused");
  if (refused || (functions.length === 0 && added === undefined)) return { patch: undefined, findings };
  const { symbols } = table;
  const unit: PatchUnit = { module, base: before.hash, result: after.hash, symbols, functions, added };
  const { name, version = "1", description = "" } = about;
  return { patch: { target: "js", name, version, description, safe, units: [unit], wasm: [] }, findings };
}

/** Functions that differ, the innermost that can be replaced; with `old` absent, methods that are new. */
function changedFunctions(
  before: Analysis,
  after: Analysis,
  structure: Changed,
  findings: Finding[],
): { old: AnalyzedFunction | undefined; now: AnalyzedFunction }[] {
  const olds = new Map(before.functions.map((each) => [each.id, each]));
  const found = new Map<string, { old: AnalyzedFunction | undefined; now: AnalyzedFunction }>();
  const covered = (each: AnalyzedFunction): boolean => {
    for (let at = each.parent; at !== undefined; at = at.parent) if (found.has(at.id)) return true;
    return false;
  };
  const byNode = new Map(after.functions.map((each) => [each.node, each]));
  for (const now of after.functions) {
    if (structure.addedFunctions.has(now.id)) {
      if (now.parent === undefined) found.set(now.id, { old: undefined, now });
      continue;
    }
    if (now.start >= 0 && structure.isAdded(now.start)) continue; // part of a declaration that is new
    const old = olds.get(now.id);
    if (old === undefined || old.hash === now.hash) continue;
    if (old.ownHash === now.ownHash || covered(now)) continue; // what is in it differs, or it comes with what it is in
    let [target, oldTarget]: (AnalyzedFunction | undefined)[] = [now, old];
    while (target !== undefined && (oldTarget?.why !== undefined || target.why !== undefined)) {
      target = target.parent === undefined ? undefined : byNode.get(target.parent.node);
      oldTarget = target === undefined ? undefined : olds.get(target.id);
    }
    if (target === undefined || oldTarget === undefined) {
      findings.push({
        what: now.id,
        verdict: "refused",
        why: now.why ?? old.why ?? "nothing around it can be replaced",
      });
      continue;
    }
    found.set(target.id, { old: oldTarget, now: target });
  }
  return [...found.values()].filter(({ now }) => !covered(now));
}

function unitFunction(
  before: Analysis,
  after: Analysis,
  old: AnalyzedFunction | undefined,
  now: AnalyzedFunction,
  table: SymbolTable,
): PatchFunction {
  return {
    id: now.id,
    isNew: old === undefined,
    kind: now.kind,
    isAsync: now.node.async,
    isGenerator: now.node.generator,
    arity: now.arity,
    oldHash: old?.hash ?? "",
    newHash: now.hash,
    ...emitFunction(after, now, table, (reference) => bound(before, after, now, reference)),
  };
}

/** What a name in new code is. */
function bound(
  before: Analysis,
  after: Analysis,
  now: AnalyzedFunction | undefined,
  { name, where }: OutwardReference,
): { symbol: PatchSymbol; moves: boolean } | undefined {
  const none = { name, kind: "unknown", arity: -1, from: "" } as const;
  if (where === "global") return { symbol: { ...none, scope: "global" }, moves: false };
  if (where === "class") return undefined; // the code is compiled in the class
  if (where === "closure") {
    const kind = now?.captures.find((each) => each.name === name)?.kind ?? "unknown";
    return { symbol: { ...none, scope: "closure", kind }, moves: true };
  }
  const symbol = after.symbols.get(name)!;
  const old = before.symbols.get(name);
  // Where a module's name lives is known when it is applied: an earlier patch may have declared it.
  if (old === undefined) return { symbol: { ...symbol, scope: "added" }, moves: true };
  return { symbol: { ...old, scope: old.kind === "import" ? "import" : "module" }, moves: true };
}

function addedCode(
  before: Analysis,
  after: Analysis,
  { addedStatements, addedImports }: Changed,
  table: SymbolTable,
): AddedCode | undefined {
  if (addedStatements.length === 0 && addedImports.length === 0) return undefined;
  const inside = new Set(addedStatements.flatMap(({ names }) => names));
  const nodes = addedStatements.map(({ node }) => node);
  const code = emitStatements(after, nodes, table, (reference) => {
    const found = bound(before, after, undefined, reference);
    // What is declared side by side is found as it stands.
    return found !== undefined && inside.has(reference.name) ? { ...found, moves: false } : found;
  });
  return {
    ...code,
    names: [...inside].map((name) => {
      const { kind, arity } = after.symbols.get(name)!;
      return { name, kind, arity };
    }),
    imports: addedImports.map((name) => ({ name, from: after.symbols.get(name)!.from })),
  };
}

function noteOf(after: Analysis, old: AnalyzedFunction | undefined, now: AnalyzedFunction): string {
  if (old === undefined) return "";
  const inner = after.functions.some(({ parent }) => parent?.node === now.node);
  return inner ? "functions that it has made already keep their code" : "";
}
