import type { PatchSymbol, RelocatableCode, Relocation, RelocationForm } from "../image/patch.ts";
import type { Analysis, AnalyzedFunction, OutwardReference } from "./analysis.ts";
import { arrowEnd, isCounted } from "./instrument.ts";
import type { AnyNode } from "./nodes.ts";
import { childrenOf } from "./nodes.ts";
import { tokenAt } from "./source.ts";

/** The symbols of a unit, each once. */
export class SymbolTable {
  readonly symbols: PatchSymbol[] = [];
  readonly #places = new Map<string, number>();

  /** The place of a symbol. */
  place(symbol: PatchSymbol): number {
    const key = `${symbol.scope} ${symbol.name}`;
    let place = this.#places.get(key);
    if (place === undefined) {
      place = this.symbols.push(symbol) - 1;
      this.#places.set(key, place);
    }
    return place;
  }
}

/** The symbol of a reference, and whether its place may have to change; `undefined` of what is no symbol. */
export type Bind = (
  reference: OutwardReference,
) => { readonly symbol: PatchSymbol; readonly moves: boolean } | undefined;

/**
 * A function's code, with the places that are bound when it is applied. A method has the form of one in an object, by the
 * name `f`; everything else is an expression.
 */
export function emitFunction(
  analysis: Analysis,
  each: AnalyzedFunction,
  table: SymbolTable,
  bind: Bind,
): RelocatableCode {
  const { source } = analysis;
  const { node, kind } = each;
  const places = new Places(table);
  const prefix = `${node.async ? "async " : ""}`;
  let head: string;
  let start: number;
  if (kind === "arrow") {
    head = "";
    start = node.start;
  } else {
    let open = tokenAt(source, node.id?.end ?? node.start);
    while (source.tokens[open]!.type.label !== "(") open++;
    start = source.tokens[open]!.start;
    const star = node.generator ? "*" : "";
    // A declaration's name is the module's; an expression's is its own, where its code says it.
    const own = node.type === "FunctionExpression" && node.id !== null ? ` ${node.id.name}` : "";
    head = kind === "function" ? `${prefix}function${star}${own} ` : `${prefix}${star}f`;
  }
  addReferences(places, analysis, node.start, node.end, each.outward, bind, head.length - start);
  if (isCounted(each)) {
    const block = node.body.type === "BlockStatement";
    const [from, to] = block
      ? [node.body.start + 1, node.body.end - 1]
      : [arrowEnd(source, node.body.start), node.end];
    places.count(from + head.length - start, block ? "enter" : "enterExpression");
    places.count(to + head.length - start, block ? "leave" : "leaveExpression");
  }
  return { code: head + source.text.slice(start, node.end), relocations: places.sorted() };
}

/** Statements' code, one behind the other. `export` is left out: nobody can import what a patch declares. */
export function emitStatements(
  analysis: Analysis,
  statements: readonly AnyNode[],
  table: SymbolTable,
  bind: Bind,
): RelocatableCode {
  const places = new Places(table);
  let code = "";
  for (const statement of statements) {
    const inner = statement.type === "ExportNamedDeclaration"
      ? statement["declaration"] as AnyNode
      : statement;
    const references = analysis.references.filter(({ start, end, where }) =>
      start >= inner.start && end <= inner.end && where !== "closure" && where !== "class"
    );
    addReferences(places, analysis, inner.start, inner.end, references, bind, code.length - inner.start);
    code += `${analysis.source.text.slice(inner.start, inner.end)}\n`;
  }
  return { code, relocations: places.sorted() };
}

function addReferences(
  places: Places,
  analysis: Analysis,
  start: number,
  end: number,
  references: readonly OutwardReference[],
  bind: Bind,
  shift: number,
): void {
  const nodes = new Map<number, AnyNode>();
  const metas: AnyNode[] = [];
  for (const [node] of analysis.parents) {
    if (node.start < start || node.end > end) continue;
    if (node.type === "Identifier" && !(nodes.has(node.start) && isShorthand(analysis.parents.get(node)!))) {
      nodes.set(node.start, node);
    }
    if (node.type === "MetaProperty" && (node["meta"] as AnyNode)["name"] === "import") metas.push(node);
    if (node.type === "ImportExpression") metas.push(node);
  }
  for (const reference of references) {
    if (reference.start < start || reference.end > end) continue;
    const bound = bind(reference);
    if (bound === undefined) continue;
    const place = places.table.place(bound.symbol);
    if (!bound.moves) continue;
    const node = nodes.get(reference.start)!;
    places.add(
      reference.start + shift,
      reference.end - reference.start,
      place,
      formOf(node, analysis.parents),
    );
  }
  for (const node of metas) {
    const isImport = node.type === "ImportExpression";
    const name = isImport ? "import()" : "import.meta";
    const place = places.table.place({ name, scope: "meta", kind: "unknown", arity: -1, from: "" });
    places.add(node.start + shift, isImport ? "import".length : node.end - node.start, place, "name");
  }
}

function isShorthand(node: AnyNode): boolean {
  return node.type === "Property" && node["shorthand"] === true;
}

function formOf(node: AnyNode, parents: ReadonlyMap<AnyNode, AnyNode>): RelocationForm {
  const parent = parents.get(node);
  if (parent === undefined) return "name";
  if (isShorthand(parent)) return "shorthand";
  if (parent.type === "AssignmentPattern" && parent["left"] === node) {
    const above = parents.get(parent);
    if (above !== undefined && isShorthand(above)) return "shorthand";
  }
  if (parent.type === "CallExpression" && parent["callee"] === node) return "call";
  if (parent.type === "TaggedTemplateExpression" && parent["tag"] === node) return "call";
  return "name";
}

class Places {
  readonly table: SymbolTable;
  readonly #places: Relocation[] = [];

  constructor(table: SymbolTable) {
    this.table = table;
  }

  add(offset: number, length: number, symbol: number, form: RelocationForm): void {
    this.#places.push({ offset, length, symbol, form });
  }

  count(offset: number, form: RelocationForm): void {
    this.#places.push({ offset, length: 0, symbol: 0, form });
  }

  sorted(): Relocation[] {
    // What leaves a body stands at its end, behind all that is in it; what enters, before.
    return this.#places.sort((a, b) => a.offset - b.offset || a.length - b.length);
  }
}

/** All identifiers that a pattern declares. */
export function* declaredBy(pattern: AnyNode): Iterable<string> {
  if (pattern.type === "Identifier") yield pattern["name"] as string;
  else if (pattern.type === "Property") yield* declaredBy(pattern["value"] as AnyNode);
  else if (pattern.type === "AssignmentPattern") yield* declaredBy(pattern["left"] as AnyNode);
  else for (const child of childrenOf(pattern)) yield* declaredBy(child);
}
