import type { Analysis } from "./analysis.ts";
import { nestedBlanks } from "./analysis.ts";
import type { Finding } from "./derive.ts";
import { declaredBy } from "./emit.ts";
import type { AnyNode } from "./nodes.ts";
import { type Blank, lineOf, words } from "./source.ts";

/** What differs between two versions of a module beside the code of functions. */
export interface Changed {
  readonly findings: readonly Finding[];
  /** Declarations of names that the old version has not. */
  readonly addedStatements: readonly { readonly node: AnyNode; readonly names: readonly string[] }[];
  /** Names that are imported newly. */
  readonly addedImports: readonly string[];
  /** Methods that classes get, by name. */
  readonly addedFunctions: ReadonlySet<string>;
  /** Whether an offset is in a declaration that is new. */
  isAdded(offset: number): boolean;
}

interface Statement {
  readonly node: AnyNode;
  /** Names that it declares; imports have none here. */
  readonly names: readonly string[];
  /** Its words, functions and members of classes left out. */
  readonly skeleton: string;
  readonly line: number;
}

/** Compares what is not in functions: statements, declarations, imports, exports, the members of classes. */
export function compareStructure(before: Analysis, after: Analysis): Changed {
  const findings: Finding[] = [];
  const olds = statementsOf(before);
  const news = statementsOf(after);
  const isNew = ({ names }: Statement): boolean =>
    names.length > 0 && names.every((name) => !before.symbols.has(name));
  const isGone = ({ names }: Statement): boolean =>
    names.length > 0 && names.every((name) => !after.symbols.has(name));
  const added = news.filter(isNew);
  for (const { names } of olds.filter(isGone)) {
    findings.push({
      what: names.join(", "),
      verdict: "note",
      why: "it is gone from the source, and stays until a restart",
    });
  }
  const [kept, now] = [olds.filter((each) => !isGone(each)), news.filter((each) => !isNew(each))];
  for (let index = 0; index < Math.max(kept.length, now.length); index++) {
    const [was, is] = [kept[index], now[index]];
    if (was?.skeleton === is?.skeleton) continue;
    const isMore = was === undefined || now[index + 1]?.skeleton === was.skeleton;
    const isLess = is === undefined || kept[index + 1]?.skeleton === is.skeleton;
    const at = isLess ? was! : is;
    const what = at.names.length > 0 ? at.names.join(", ") : `line ${at.line}`;
    const how = isMore ? "it is new" : isLess ? "it is gone" : `line ${at.line} has changed`;
    findings.push({ what, verdict: "refused", why: `${how}, and runs once, at load` });
    break; // what follows would be told against the wrong one
  }
  const addedImports = compareImports(before, after, findings);
  const addedFunctions = compareClasses(before, after, findings);
  for (const { node, names } of added) {
    if (node.type === "ExportNamedDeclaration") {
      findings.push({
        what: names.join(", "),
        verdict: "note",
        why: "other modules cannot import it until a restart",
      });
    }
  }
  return {
    findings,
    addedStatements: added,
    addedImports,
    addedFunctions,
    isAdded: (offset) => added.some(({ node }) => offset >= node.start && offset < node.end),
  };
}

function statementsOf(analysis: Analysis): Statement[] {
  const { source, functions, classes } = analysis;
  const blanks = nestedBlanks(functions, undefined);
  const bodies = classes.map(({ name, node }): Blank => {
    const { start, end } = node["body"] as AnyNode;
    return { start, end, word: `class ${name}` };
  });
  const outermost = [...blanks, ...bodies]
    .filter(({ start, end }) =>
      !bodies.some((body) => body.start <= start && end <= body.end && (body.start < start || end < body.end))
    )
    .sort((a, b) => a.start - b.start);
  return (source.program.body as unknown as AnyNode[])
    .filter(({ type }) => type !== "ImportDeclaration" && type !== "EmptyStatement")
    .map((node) => ({
      node,
      names: [...namesOf(node)],
      skeleton: words(source, node.start, node.end, outermost),
      line: lineOf(source, node.start),
    }));
}

function* namesOf(node: AnyNode): Iterable<string> {
  const inner = node.type === "ExportNamedDeclaration" ? node["declaration"] as AnyNode | null : node;
  if (inner === null) return;
  if (inner.type === "VariableDeclaration") {
    for (const each of inner["declarations"] as AnyNode[]) yield* declaredBy(each["id"] as AnyNode);
  } else if (inner.type === "FunctionDeclaration" || inner.type === "ClassDeclaration") {
    yield (inner["id"] as AnyNode)["name"] as string;
  }
}

/** @returns Names that are imported newly. */
function compareImports(before: Analysis, after: Analysis, findings: Finding[]): string[] {
  const added: string[] = [];
  for (const { name, kind, from } of after.symbols.values()) {
    if (kind !== "import") continue;
    const old = before.symbols.get(name);
    if (old === undefined) added.push(name);
    else if (old.kind !== "import" || old.from !== from) {
      findings.push({ what: name, verdict: "refused", why: `it is imported from ${from}, which it was not` });
    }
  }
  for (const { name, kind } of before.symbols.values()) {
    if (kind === "import" && !after.symbols.has(name)) {
      findings.push({
        what: name,
        verdict: "note",
        why: "it is imported no more, and stays until a restart",
      });
    }
  }
  const bare = (analysis: Analysis): Set<string> =>
    new Set(
      (analysis.source.program.body as unknown as AnyNode[])
        .filter((node) => node.type === "ImportDeclaration" && (node["specifiers"] as unknown[]).length === 0)
        .map((node) => (node["source"] as AnyNode)["value"] as string),
    );
  const had = bare(before);
  for (const module of bare(after)) {
    if (!had.has(module)) {
      findings.push({ what: module, verdict: "refused", why: "it is imported for what it does at load" });
    }
  }
  return added;
}

/** @returns Methods that are new. */
function compareClasses(before: Analysis, after: Analysis, findings: Finding[]): Set<string> {
  const added = new Set<string>();
  for (const now of after.classes) {
    const old = before.classes.find(({ name }) => name === now.name);
    if (old === undefined) continue; // new, or its statement differs
    const [was, is] = [membersOf(before, old.node), membersOf(after, now.node)];
    for (const [label, member] of is) {
      const previous = was.get(label);
      if (previous?.skeleton === member.skeleton) continue;
      const what = `${now.name}: ${label}`;
      if (previous !== undefined) {
        findings.push({
          what,
          verdict: "refused",
          why: "it has changed, and runs once for each object, or at load",
        });
      } else if (member.method === undefined) {
        findings.push({
          what,
          verdict: "refused",
          why: "a class that exists gets no fields: keep them in a WeakMap",
        });
      } else if (label.startsWith("#")) {
        findings.push({
          what,
          verdict: "refused",
          why: "a class that exists gets no private methods: write a function",
        });
      } else {
        const method = after.functions.find(({ node }) => node === member.method);
        if (method?.kind === "method" && method.member?.key !== "computed") added.add(method.id);
        else findings.push({ what, verdict: "refused", why: "only plain methods can be added to a class" });
      }
    }
    for (const label of was.keys()) {
      if (!is.has(label)) {
        findings.push({ what: `${now.name}: ${label}`, verdict: "refused", why: "it is gone" });
      }
    }
  }
  return added;
}

interface Member {
  readonly skeleton: string;
  readonly method: AnyNode | undefined;
}

/** A class's members by their heads: `static #x`, `get size`. */
function membersOf({ source, functions }: Analysis, node: AnyNode): Map<string, Member> {
  const blanks = nestedBlanks(functions, undefined);
  const found = new Map<string, Member>();
  for (const item of (node["body"] as AnyNode)["body"] as AnyNode[]) {
    const key = item["key"] as AnyNode | undefined;
    const method = item.type === "MethodDefinition";
    const kind = method && item["kind"] !== "method" && item["kind"] !== "constructor"
      ? `${item["kind"]} `
      : "";
    const name = key === undefined ? "static block" : source.text.slice(key.start, key.end);
    let label = `${key !== undefined && item["static"] === true ? "static " : ""}${kind}${name}`;
    while (found.has(label)) label += "'";
    const within = blanks.filter(({ start, end }) => start >= item.start && end <= item.end);
    // Of a method its function is the rest; that it is async, or not, is the function's business.
    const skeleton = method ? label : words(source, item.start, item.end, within);
    found.set(label, { skeleton, method: method ? item["value"] as AnyNode : undefined });
  }
  return found;
}
