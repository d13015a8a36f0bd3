import {
  analyze as analyzeScopes,
  type Reference,
  type Scope,
  type ScopeManager,
  type Variable,
} from "eslint-scope";
import type { SymbolKind } from "../image/patch.ts";
import { arityOf, type ClassInfo, findFunctions, type FunctionInfo, movesParameter } from "./functions.ts";
import { type AnyNode, type FunctionNode, type Uses, usesOf } from "./nodes.ts";
import { type Blank, sha256, type Source, words } from "./source.ts";

/** A function with what it reaches for. */
export interface AnalyzedFunction extends FunctionInfo {
  /** SHA-256 of its tokens. */
  readonly hash: string;
  /** As `hash`, with the functions in it as words: what is left when only they change. */
  readonly ownHash: string;
  readonly uses: Uses;
  /** References out of it. */
  readonly outward: readonly OutwardReference[];
  /** Variables of functions and blocks around it that it reaches, by name. */
  readonly captures: readonly Captured[];
}

/** A variable that a function reaches, and its module does not hold. */
export interface Captured {
  readonly name: string;
  readonly kind: SymbolKind;
}

/** An identifier in a function that is declared elsewhere. */
export interface OutwardReference {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly where: "module" | "class" | "closure" | "global";
  readonly writes: boolean;
}

/** A name that the module declares. */
export interface ModuleSymbol {
  readonly name: string;
  readonly kind: SymbolKind;
  readonly arity: number;
  readonly from: string;
}

/** A module, taken apart. */
export interface Analysis {
  readonly source: Source;
  /** SHA-256 of its tokens. */
  readonly hash: string;
  /** Outer ones first. */
  readonly functions: readonly AnalyzedFunction[];
  readonly classes: readonly ClassInfo[];
  readonly symbols: ReadonlyMap<string, ModuleSymbol>;
  readonly parents: ReadonlyMap<AnyNode, AnyNode>;
  /** References of the module's own statements, functions included, to what it declares: for code that is added. */
  readonly references: readonly OutwardReference[];
}

/** Takes a module apart. @throws {PatchError} */
export function analyze(source: Source): Analysis {
  const { functions, classes, parents } = findFunctions(source);
  const scopes = analyzeScopes(source.program as Parameters<typeof analyzeScopes>[0], {
    ecmaVersion: 2022,
    sourceType: "module",
    fallback: "iteration",
  });
  const moduleScope = scopes.scopes.find(({ type }) => type === "module")!;
  const analyzed = functions.map((each): AnalyzedFunction => {
    const scope = scopes.acquire(each.node as never, true) as Scope;
    const inner = nestedBlanks(functions, each);
    const references = scope.through.map((reference) => outward(reference, each)).filter((one) =>
      one !== undefined
    );
    const captures = new Map<string, Captured>();
    for (const reference of scope.through) {
      const { resolved } = reference;
      if (resolved === null || whereOf(resolved, each) !== "closure") continue;
      captures.set(resolved.name, { name: resolved.name, kind: kindOf(resolved) });
    }
    const { async: isAsync, generator } = each.node; // of methods these stand before what is hashed
    const form = `${each.kind}${isAsync ? " async" : ""}${generator ? " generator" : ""}\n`;
    const hash = sha256(form + words(source, each.start, each.end));
    const ownHash = sha256(form + words(source, each.start, each.end, inner));
    return {
      ...each,
      why: each.why ?? clash(each, scope),
      hash,
      ownHash,
      uses: usesOf(each.node),
      outward: references,
      captures: [...captures.values()].sort((a, b) => a.name < b.name ? -1 : 1),
    };
  });
  const symbols = new Map<string, ModuleSymbol>();
  for (const variable of moduleScope.variables) {
    if (variable.defs.length > 0) symbols.set(variable.name, symbolOf(variable));
  }
  const references = allReferences(scopes).map((reference) => outward(reference, undefined)).filter((one) =>
    one !== undefined
  );
  const hash = sha256(words(source, 0, source.text.length));
  return { source, hash, functions: analyzed, classes, symbols, parents, references };
}

/** What stands for the functions directly in `of`, or in the module. */
export function nestedBlanks(functions: readonly FunctionInfo[], of: FunctionInfo | undefined): Blank[] {
  return functions.filter(({ parent }) => parent === of)
    .map(({ start, end, id }) => ({ start, end, word: `function ${id}` }))
    .sort((a, b) => a.start - b.start);
}

function allReferences(scopes: ScopeManager): Reference[] {
  return scopes.scopes.flatMap((scope) => scope.references);
}

function outward(reference: Reference, from: FunctionInfo | undefined): OutwardReference | undefined {
  const { identifier, resolved } = reference;
  const where = resolved === null ? "global" : whereOf(resolved, from);
  if (where === "own") return undefined;
  const { name, range } = identifier as unknown as { name: string; range: [number, number] };
  return { name, start: range[0], end: range[1], where, writes: reference.isWrite() };
}

/** Where a variable lives, seen from a function. */
function whereOf(
  { scope, name, defs }: Variable,
  from: FunctionInfo | undefined,
): OutwardReference["where"] | "own" {
  if (name === "arguments" && defs.length === 0) return "own"; // of the function around an arrow: no variable
  if (scope.type === "module") return "module";
  if (scope.type === "global") return "global";
  if (from === undefined) return "closure";
  if ((scope.block as unknown) === from.node) return "own"; // the name of a function expression
  // A class's name inside it: code that is compiled in the class's body finds it.
  if (scope.type === "class" && (scope.block as unknown) === from.inClass?.node) return "class";
  return "closure";
}

function kindOf({ defs }: Variable): SymbolKind {
  const def = defs[0];
  switch (def?.type) {
    case "Variable":
      // `using` and `await using` cannot be assigned to either.
      return def.parent.kind === "let" || def.parent.kind === "var" ? def.parent.kind : "const";
    case "FunctionName":
      return "function";
    case "ClassName":
      return "class";
    case "ImportBinding":
      return "import";
    case "Parameter":
      return "parameter";
    case "CatchClause":
      return "let";
    default:
      return "unknown";
  }
}

function symbolOf(variable: Variable): ModuleSymbol {
  const kind = kindOf(variable);
  const def = variable.defs[0]!;
  let arity = -1;
  let from = "";
  const node = def.node as unknown as AnyNode;
  if (kind === "function") arity = arityOf(node as FunctionNode);
  else if (kind === "import") from = importOf(node, def.parent as unknown as AnyNode);
  return { name: variable.name, kind, arity, from };
}

/** `./rooms.ts#Room`, `./rooms.ts#default`, `./rooms.ts#*`. */
function importOf(specifier: AnyNode, declaration: AnyNode): string {
  const module = (declaration["source"] as AnyNode)["value"] as string;
  if (specifier.type === "ImportDefaultSpecifier") return `${module}#default`;
  if (specifier.type === "ImportNamespaceSpecifier") return `${module}#*`;
  const imported = specifier["imported"] as AnyNode;
  return `${module}#${imported["name"] ?? imported["value"]}`;
}

/** Parameters that move behind the check become declarations: they must be the only ones of their names. */
function clash({ node }: FunctionInfo, scope: Scope): string | undefined {
  const first = node.params.findIndex((each) => movesParameter(each));
  if (first < 0) return undefined;
  const from = node.params[first]!.start;
  for (const { name, defs } of scope.variables) {
    const moves = defs.some((def) =>
      def.type === "Parameter" && (def.name as unknown as AnyNode).start >= from
    );
    if (moves && defs.length > 1) return `it declares its parameter "${name}" again`;
  }
  return undefined;
}
