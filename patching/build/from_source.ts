import MagicString from "magic-string";
import { PatchError } from "../patch_error.ts";
import { type Derived, derivePatch, type PatchAbout } from "./derive.ts";
import type { AnyNode } from "./nodes.ts";
import { parseSource } from "./source.ts";

/**
 * Builds a patch from a source that holds nothing but what changes: functions by the names that they have in the target,
 * classes with the methods that change, and declarations that are new. It is written as if it stood in the target, whose
 * private names it may use.
 *
 * @throws {PatchError} `source`, when one of them cannot be parsed, or the patch has a statement that declares nothing.
 * @example
 * ```ts
 * import { patchFromSource } from "@torpor/torpor/patching/build/from_source.ts";
 * const target = "let hits = 0;\nexport function hit() { return hits += 2; }";
 * const { patch } = patchFromSource("hits.js", target, "function hit() { return ++hits; }", { name: "by-one" });
 * console.log(patch?.units[0]?.symbols); // hits, a variable of the module
 * ```
 */
export function patchFromSource(
  module: string,
  target: string,
  patch: string,
  about: PatchAbout,
): Derived {
  return derivePatch(module, target, merged(module, target, patch), about);
}

/** The target as it would read with the patch in it. */
function merged(module: string, target: string, patch: string): string {
  const old = parseSource(module, target);
  const source = parseSource(/\.[cm]?ts$/.test(module) ? "patch.ts" : "patch.js", patch);
  const text = new MagicString(old.text);
  const declared = new Map<string, AnyNode>();
  for (const statement of old.program.body as unknown as AnyNode[]) {
    for (const [name, node] of declarationsOf(statement)) declared.set(name, node);
  }
  const appended: string[] = [];
  for (const statement of source.program.body as unknown as AnyNode[]) {
    if (statement.type === "ImportDeclaration") {
      appended.push(source.text.slice(statement.start, statement.end));
      continue;
    }
    const declarations = [...declarationsOf(statement)];
    if (declarations.length === 0) {
      const word = source.text.slice(statement.start, statement.start + 40).split("\n")[0];
      throw new PatchError("source", `Cannot build the patch: "${word}" declares nothing`);
    }
    for (const [name, node] of declarations) {
      const was = declared.get(name);
      const code = source.text.slice(node.start, node.end);
      if (was === undefined) {
        const keyword = node.type === "VariableDeclarator" ? `${inner(statement)["kind"]} ` : "";
        appended.push(`${keyword}${code}${keyword === "" ? "" : ";"}`);
      } else if (was.type === "ClassDeclaration" && node.type === "ClassDeclaration") {
        mergeClass(text, old.text, was, source.text, node);
      } else text.overwrite(was.start, was.end, code);
    }
  }
  return `${text.toString()}\n${appended.join("\n")}\n`;
}

function mergeClass(
  text: MagicString,
  oldText: string,
  was: AnyNode,
  patchText: string,
  node: AnyNode,
): void {
  const members = (of: AnyNode): AnyNode[] => (of["body"] as AnyNode)["body"] as AnyNode[];
  const label = (in_: string, { key, static: isStatic, kind }: Record<string, unknown>): string => {
    const { start, end } = key as AnyNode;
    return `${isStatic === true} ${kind === "get" || kind === "set" ? kind : ""} ${in_.slice(start, end)}`;
  };
  const known = new Map(
    members(was).filter(({ key }) => key !== undefined).map((each) => [label(oldText, each), each]),
  );
  for (const member of members(node)) {
    const code = patchText.slice(member.start, member.end);
    const old = member["key"] === undefined ? undefined : known.get(label(patchText, member));
    if (old === undefined) text.appendLeft(was.end - 1, ` ${code}\n`);
    else text.overwrite(old.start, old.end, code);
  }
}

function inner(statement: AnyNode): AnyNode {
  const isExport = statement.type === "ExportNamedDeclaration" ||
    statement.type === "ExportDefaultDeclaration";
  return isExport ? statement["declaration"] as AnyNode ?? statement : statement;
}

/** What a statement declares: functions, classes, and each variable by itself. */
function* declarationsOf(statement: AnyNode): Iterable<[name: string, node: AnyNode]> {
  const node = inner(statement);
  if (node.type === "FunctionDeclaration" || node.type === "ClassDeclaration") {
    yield [(node["id"] as AnyNode | null)?.["name"] as string ?? "default", node];
  } else if (node.type === "VariableDeclaration") {
    for (const each of node["declarations"] as AnyNode[]) {
      const id = each["id"] as AnyNode;
      if (id.type === "Identifier") yield [id["name"] as string, each];
    }
  }
}
