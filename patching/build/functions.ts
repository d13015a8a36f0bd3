import type { FunctionKind } from "../image/patch.ts";
import type { Source } from "./source.ts";
import { type AnyNode, childrenOf, type FunctionNode, isFunction } from "./nodes.ts";

/** A class of a module, outside every function. */
export interface ClassInfo {
  /** How it is called: `Room`. */
  readonly name: string;
  readonly node: AnyNode;
  /** Its number in the module. */
  readonly index: number;
}

/** A function of a module. */
export interface FunctionInfo {
  /** Its name in the module, which no other has: `Room.prototype.say`, `makeCounter/(0)`. */
  readonly id: string;
  readonly node: FunctionNode;
  readonly kind: FunctionKind;
  /** The name by which it is called, for stack traces. */
  readonly called: string;
  /** The function that holds it. */
  readonly parent: FunctionInfo | undefined;
  /** The module's class in whose body it is. */
  readonly inClass: ClassInfo | undefined;
  /** Of a method: whether its class is `inClass`, and which property it is. */
  readonly member:
    | { readonly isStatic: boolean; readonly key: string; readonly isPrivate: boolean }
    | undefined;
  /** `length`. */
  readonly arity: number;
  /** Why it gets no slot. */
  readonly why: string | undefined;
  /** The start of what stands for it, and the end: of a method the value alone. */
  readonly start: number;
  readonly end: number;
}

interface Place {
  readonly parent: FunctionInfo | undefined;
  readonly inClass: ClassInfo | undefined;
  /** Whether the functions here are within parameters that move. */
  readonly moved: boolean;
}

/** All functions and classes of a module, outer ones first. */
export interface Found {
  readonly functions: readonly FunctionInfo[];
  readonly classes: readonly ClassInfo[];
  readonly parents: ReadonlyMap<AnyNode, AnyNode>;
}

/** Finds the functions of a module, and gives each a name that it keeps while the code around it stays. */
export function findFunctions({ program }: Source): Found {
  const functions: FunctionInfo[] = [];
  const classes: ClassInfo[] = [];
  const parents = new Map<AnyNode, AnyNode>();
  const taken = new Set<string>();
  const counts = new Map<FunctionInfo | undefined, number>();

  function named(parent: FunctionInfo | undefined, hint: string | undefined): string {
    let name = hint;
    if (name === undefined) {
      const count = counts.get(parent) ?? 0;
      counts.set(parent, count + 1);
      name = `(${count})`;
    }
    const path = parent === undefined ? name : `${parent.id}/${name}`;
    let id = path;
    for (let again = 2; taken.has(id); again++) id = `${path}~${again}`;
    taken.add(id);
    return id;
  }

  function addFunction(
    node: FunctionNode,
    hint: string | undefined,
    place: Place,
    kind: FunctionKind,
    member?: FunctionInfo["member"],
    derived = false,
  ): void {
    const called = kind === "function" || kind === "arrow"
      ? hint ?? node.id?.name ?? ""
      : member?.key ?? hint!;
    const info: FunctionInfo = {
      id: named(place.parent, hint ?? node.id?.name),
      node,
      kind,
      called: called.split(".").at(-1)!,
      parent: place.parent,
      inClass: place.inClass,
      member,
      arity: arityOf(node),
      why: place.moved
        ? `it stands in the parameters of ${place.parent!.id}`
        : kind === "constructor" && derived
        ? "it is the constructor of a derived class: nothing runs before super()"
        : undefined,
      start: node.start,
      end: node.end,
    };
    functions.push(info);
    const firstMoved = node.params.findIndex((each) => movesParameter(each));
    node.params.forEach((each, index) => {
      parents.set(each, node);
      const moved = info.why === undefined && firstMoved >= 0 && index >= firstMoved;
      walk(each, { parent: info, inClass: place.inClass, moved: place.moved || moved }, undefined);
    });
    parents.set(node.body, node);
    walk(node.body, { parent: info, inClass: place.inClass, moved: place.moved }, undefined);
  }

  function addClass(node: AnyNode, hint: string | undefined, place: Place): void {
    const own = (node["id"] as AnyNode | null)?.["name"] as string | undefined;
    const name = own ?? hint ?? "class";
    let info = place.inClass;
    const outside = place.parent === undefined && !place.moved;
    if (outside) classes.push(info = { name, node, index: classes.length });
    for (const key of ["id", "superClass"]) {
      const child = node[key] as AnyNode | null;
      if (!child) continue;
      parents.set(child, node);
      walk(child, place, undefined);
    }
    const body = node["body"] as AnyNode;
    parents.set(body, node);
    const inner: Place = { ...place, inClass: info };
    for (const item of body["body"] as AnyNode[]) {
      parents.set(item, body);
      const key = item["key"] as AnyNode | undefined;
      if (key !== undefined) {
        parents.set(key, item);
        walk(key, place, undefined);
      }
      const isStatic = item["static"] === true;
      const keyName = key === undefined ? undefined : keyOf(key, item["computed"] === true);
      const full = keyName === undefined ? undefined : `${name}.${isStatic ? "" : "prototype."}${keyName}`;
      if (item.type === "MethodDefinition") {
        const value = item["value"] as FunctionNode;
        parents.set(value, item);
        const role = item["kind"] as "method" | "get" | "set" | "constructor";
        const label = role === "constructor"
          ? `${name}.constructor`
          : full === undefined || role === "method"
          ? full
          : full.replace(/([^.]*)$/, `${role} $1`);
        const member = { isStatic, key: keyName ?? "computed", isPrivate: key!.type === "PrivateIdentifier" };
        addFunction(value, label ?? `${name}.[computed]`, inner, role, member, node["superClass"] != null);
      } else if (item.type === "PropertyDefinition") {
        const value = item["value"] as AnyNode | null;
        if (value) {
          parents.set(value, item);
          walk(value, inner, full);
        }
      } else { // a static block
        walk(item, inner, undefined);
      }
    }
  }

  function walk(node: AnyNode, place: Place, hint: string | undefined): void {
    if (isFunction(node)) {
      const kind = node.type === "ArrowFunctionExpression" ? "arrow" : "function";
      return addFunction(
        node,
        node.type === "FunctionDeclaration" ? node.id?.name ?? hint : hint,
        place,
        kind,
      );
    }
    if (node.type === "ClassDeclaration" || node.type === "ClassExpression") {
      return addClass(node, hint, place);
    }
    for (const child of childrenOf(node)) {
      parents.set(child, node);
      let next: string | undefined;
      if (node.type === "VariableDeclarator" && child === node["init"]) next = plain(node["id"] as AnyNode);
      else if (node.type === "AssignmentExpression" && child === node["right"]) {
        next = plain(node["left"] as AnyNode);
      } else if (node.type === "ExportDefaultDeclaration") next = "default";
      else if (node.type === "Property" && child === node["value"]) {
        const key = keyOf(node["key"] as AnyNode, node["computed"] === true);
        const role = node["kind"] as "init" | "get" | "set";
        const path = key === undefined ? undefined : hint === undefined ? key : `${hint}.${key}`;
        if (node["method"] === true || role !== "init") {
          const label = role === "init" || path === undefined ? path : path.replace(/([^.]*)$/, `${role} $1`);
          const member = { isStatic: false, key: key ?? "computed", isPrivate: false };
          addFunction(
            child as FunctionNode,
            label ?? "[computed]",
            place,
            role === "init" ? "method" : role,
            member,
          );
          continue;
        }
        next = path;
      } else if (node.type === "ObjectExpression") next = hint; // its properties prepend it
      else if (/^(Chain|Parenthesized|Await)Expression$/.test(node.type)) next = hint;
      walk(child, place, next);
    }
  }

  for (const statement of program.body as unknown as AnyNode[]) {
    walk(statement, { parent: undefined, inClass: undefined, moved: false }, undefined);
  }
  return { functions, classes, parents };
}

/** A parameter that is taken apart: that happens behind the check, as it can fail, and can be seen. */
export function movesParameter(node: AnyNode): boolean {
  if (node.type === "AssignmentPattern") return movesParameter(node["left"] as AnyNode);
  if (node.type === "RestElement") return movesParameter(node["argument"] as AnyNode);
  return node.type !== "Identifier";
}

/** A function's `length`. */
export function arityOf({ params }: FunctionNode): number {
  const first = params.findIndex((each) => each.type === "AssignmentPattern" || each.type === "RestElement");
  return first < 0 ? params.length : first;
}

/** `a.b.c`, or nothing when something is computed. */
function plain(node: AnyNode): string | undefined {
  if (node.type === "Identifier") return node["name"] as string;
  if (node.type === "ThisExpression") return "this";
  if (node.type !== "MemberExpression") return undefined;
  const object = plain(node["object"] as AnyNode);
  const key = keyOf(node["property"] as AnyNode, node["computed"] === true);
  return object === undefined || key === undefined ? undefined : `${object}.${key}`;
}

function keyOf(key: AnyNode, computed: boolean): string | undefined {
  if (computed) return undefined;
  if (key.type === "PrivateIdentifier") return `#${key["name"]}`;
  return key.type === "Identifier" ? key["name"] as string : String(key["value"]);
}
