import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type AnyNode, type Expression, type Identifier, parse, type Pattern, type Program } from "acorn";

/** What a name stands for: a number, or an object of numbers. */
type Constant = number | ReadonlyMap<string, number>;

interface Module {
  readonly path: string;
  readonly code: string;
  readonly program: Program;
  /** How often each name is declared anywhere in it: what is declared twice may be shadowed. */
  readonly declared: ReadonlyMap<string, number>;
  /** Its own, and what they are exported as. */
  readonly constants: Map<string, Constant>;
  readonly exported: Map<string, string>;
}

/** A piece of code that is replaced. */
interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * Puts numbers in the place of the names of constants, in every module of the package: V8 does not, for it cannot know
 * that what a module imports stays as it is, and the hot path has hundreds of them (docs/performance.md).
 *
 * A name counts as a constant when it is declared by `const`, on the top level, as a number, or in the TypeScript source
 * as an object of numbers `as const`; and only where nothing else in the module has the same name.
 * @param built The package's folder.
 * @param root The folder of its sources.
 * @returns How many names were replaced.
 */
export function foldConstants(built: string, root: string): number {
  const modules = new Map<string, Module>();
  for (const name of readdirSync(built, { recursive: true, encoding: "utf8" })) {
    const source = join(root, name.replace(/\.js$/, ".ts"));
    if (name.endsWith(".js") && existsSync(source)) {
      modules.set(join(built, name), read(join(built, name), readFileSync(source, "utf8")));
    }
  }
  let count = 0;
  for (const module of modules.values()) {
    const edits = editsOf(module, modules);
    count += edits.length;
    if (edits.length > 0) writeFileSync(module.path, edited(module.code, edits));
  }
  return count;
}

/** Reads a module as the compiler has written it, and its source, which knows what cannot change. */
function read(path: string, source: string): Module {
  const code = readFileSync(path, "utf8");
  const program = parse(code, { ecmaVersion: "latest", sourceType: "module" });
  const declared = new Map<string, number>();
  walk(program, (node) => {
    for (const name of declaredBy(node)) declared.set(name, (declared.get(name) ?? 0) + 1);
  });
  const constants = new Map<string, Constant>(), exported = new Map<string, string>();
  for (const statement of program.body) {
    const exports = statement.type === "ExportNamedDeclaration";
    const declaration = exports ? statement.declaration : statement;
    if (exports && statement.source == null) {
      for (const { local, exported: as } of statement.specifiers) exported.set(nameOf(as), nameOf(local));
    }
    if (declaration?.type !== "VariableDeclaration" || declaration.kind !== "const") continue;
    for (const { id, init } of declaration.declarations) {
      if (id.type !== "Identifier" || init == null || declared.get(id.name) !== 1) continue;
      const constant = numberOf(init) ?? (isFixed(source, id.name) ? numbersOf(init) : undefined);
      if (constant === undefined) continue;
      constants.set(id.name, constant);
      if (exports) exported.set(id.name, id.name);
    }
  }
  return { path, code, program, declared, constants, exported };
}

/** Whether the source declares `name` as an object that nobody may change. */
function isFixed(source: string, name: string): boolean {
  const declaration = new RegExp(`^(?:export )?const ${name} = \\{[^}]*\\} as const;`, "m");
  return declaration.test(source);
}

function numberOf(node: Expression): number | undefined {
  if (node.type === "Literal") return typeof node.value === "number" ? node.value : undefined;
  if (node.type !== "UnaryExpression" || node.operator !== "-") return undefined;
  const number = numberOf(node.argument);
  return number === undefined ? undefined : -number;
}

function numbersOf(node: Expression): ReadonlyMap<string, number> | undefined {
  if (node.type !== "ObjectExpression") return undefined;
  const numbers = new Map<string, number>();
  for (const property of node.properties) {
    if (property.type !== "Property" || property.computed || property.key.type !== "Identifier") continue;
    const number = numberOf(property.value);
    if (number !== undefined) numbers.set(property.key.name, number);
  }
  return numbers;
}

/** Every constant that a module can name: its own, and what it imports. */
function visibleIn(module: Module, modules: ReadonlyMap<string, Module>): Map<string, Constant> {
  const visible = new Map(module.constants);
  for (const statement of module.program.body) {
    if (statement.type !== "ImportDeclaration") continue;
    const from = modules.get(join(dirname(module.path), String(statement.source.value)));
    if (from === undefined) continue;
    for (const specifier of statement.specifiers) {
      if (specifier.type !== "ImportSpecifier" || module.declared.get(specifier.local.name) !== 1) continue;
      const constant = from.constants.get(from.exported.get(nameOf(specifier.imported)) ?? "");
      if (constant !== undefined) visible.set(specifier.local.name, constant);
    }
  }
  return visible;
}

function editsOf(module: Module, modules: ReadonlyMap<string, Module>): Edit[] {
  const visible = visibleIn(module, modules);
  const edits: Edit[] = [];
  if (visible.size === 0) return edits;
  walk(module.program, (node, parent) => {
    if (node.type === "MemberExpression" && !node.computed && node.object.type === "Identifier") {
      const constant = visible.get(node.object.name);
      const name = node.property.type === "Identifier" ? node.property.name : "";
      const number = typeof constant === "object" ? constant.get(name) : undefined;
      if (number !== undefined) edits.push({ start: node.start, end: node.end, text: textOf(number) });
    }
    if (node.type !== "Identifier" || parent === undefined || !isRead(node, parent)) return;
    const number = visible.get(node.name);
    if (typeof number !== "number") return;
    const short = parent.type === "Property" && parent.shorthand ? `${node.name}: ` : "";
    edits.push({ start: node.start, end: node.end, text: short + textOf(number) });
  });
  return edits;
}

/** Behind `return` or `case` the code has a space already; a member of a number needs the brackets. */
function textOf(number: number): string {
  return Number.isInteger(number) && number >= 0 ? `(${number})` : `(${JSON.stringify(number)})`;
}

/** Whether an identifier stands for its value there. */
function isRead(node: Identifier, parent: AnyNode): boolean {
  switch (parent.type) {
    case "MemberExpression":
      return parent.object === node || parent.computed;
    case "Property":
      return parent.value === node && (parent.shorthand || parent.key !== node);
    case "PropertyDefinition":
      return parent.value === node || (parent.computed && parent.key === node);
    case "MethodDefinition":
      return parent.computed && parent.key === node;
    case "VariableDeclarator":
      return parent.init === node;
    case "AssignmentPattern":
      return parent.right === node;
    case "ImportSpecifier":
    case "ImportDefaultSpecifier":
    case "ImportNamespaceSpecifier":
    case "ExportSpecifier":
    case "ExportAllDeclaration":
    case "LabeledStatement":
    case "BreakStatement":
    case "ContinueStatement":
    case "MetaProperty":
    case "FunctionDeclaration":
    case "FunctionExpression":
    case "ClassExpression":
    case "CatchClause":
      return false;
    case "ClassDeclaration":
      return parent.superClass === node;
    case "ArrowFunctionExpression":
      return parent.body === node;
    default:
      return true;
  }
}

/** The names that a node declares. */
function declaredBy(node: AnyNode): string[] {
  switch (node.type) {
    case "VariableDeclarator":
      return namesIn(node.id);
    case "FunctionDeclaration":
    case "FunctionExpression":
    case "ArrowFunctionExpression":
      return [...(node.id == null ? [] : [node.id.name]), ...node.params.flatMap(namesIn)];
    case "ClassDeclaration":
    case "ClassExpression":
      return node.id == null ? [] : [node.id.name];
    case "CatchClause":
      return node.param == null ? [] : namesIn(node.param);
    case "ImportSpecifier":
    case "ImportDefaultSpecifier":
    case "ImportNamespaceSpecifier":
      return [node.local.name];
    default:
      return [];
  }
}

function namesIn(pattern: Pattern): string[] {
  switch (pattern.type) {
    case "Identifier":
      return [pattern.name];
    case "ObjectPattern":
      return pattern.properties.flatMap((each) =>
        namesIn(each.type === "RestElement" ? each.argument : each.value)
      );
    case "ArrayPattern":
      return pattern.elements.flatMap((each) => (each === null ? [] : namesIn(each)));
    case "RestElement":
      return namesIn(pattern.argument);
    case "AssignmentPattern":
      return namesIn(pattern.left);
    default:
      return [];
  }
}

function nameOf(node: Identifier | { value?: unknown }): string {
  return "name" in node ? node.name : String(node.value);
}

/** Calls `visit` with every node and its parent. */
function walk(node: AnyNode, visit: (node: AnyNode, parent?: AnyNode) => void, parent?: AnyNode): void {
  visit(node, parent);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child?.type === "string") walk(child, visit, node);
    }
  }
}

/** A property in short form has its name as key and as value: two nodes, one place. */
function edited(code: string, edits: readonly Edit[]): string {
  const sorted = [...edits].sort((a, b) => a.start - b.start || b.end - a.end);
  let text = "", at = 0;
  for (const edit of sorted) {
    if (edit.start < at) continue;
    text += code.slice(at, edit.start) + edit.text;
    at = edit.end;
  }
  return text + code.slice(at);
}
