/** A node of a syntax tree (ESTree), as acorn makes it. */
export interface AnyNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [member: string]: unknown;
}

/** A function of any form but a method's outside: that is its value. */
export interface FunctionNode extends AnyNode {
  readonly id: (AnyNode & { readonly name: string }) | null;
  readonly params: readonly AnyNode[];
  readonly body: AnyNode;
  readonly async: boolean;
  readonly generator: boolean;
}

/** Whether it is a function. */
export function isFunction(node: AnyNode): node is FunctionNode {
  return node.type === "FunctionDeclaration" || node.type === "FunctionExpression" ||
    node.type === "ArrowFunctionExpression";
}

/** What a node consists of, in order. */
export function* childrenOf(node: AnyNode): Iterable<AnyNode> {
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) { for (const item of value) if (isNode(item)) yield item; }
    else if (isNode(value)) yield value;
  }
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === "object" && value !== null &&
    typeof (value as { type?: unknown }).type === "string";
}

/** What a function's own code uses: that of arrow functions in it counts, as they share it. */
export interface Uses {
  readonly this: boolean;
  readonly arguments: boolean;
  readonly super: boolean;
  readonly newTarget: boolean;
  /** `#name`s, in all that is in it. */
  readonly privates: ReadonlySet<string>;
}

/** What `node` uses. */
export function usesOf(node: FunctionNode): Uses {
  const uses = { this: false, arguments: false, super: false, newTarget: false, privates: new Set<string>() };
  /** @param own Whether `this` and its like are those of the function. */
  const look = (at: AnyNode, own: boolean): void => {
    if (at.type === "PrivateIdentifier") uses.privates.add(at["name"] as string);
    if (own) {
      if (at.type === "ThisExpression") uses.this = true;
      if (at.type === "Super") uses.super = true;
      if (at.type === "Identifier" && at["name"] === "arguments") uses.arguments = true;
      if (at.type === "MetaProperty" && (at["meta"] as AnyNode)["name"] === "new") uses.newTarget = true;
    }
    const inner = own && at.type !== "FunctionDeclaration" && at.type !== "FunctionExpression" &&
      at.type !== "StaticBlock";
    for (const child of childrenOf(at)) {
      const isField = at.type === "PropertyDefinition" && child === at["value"];
      look(child, inner && !isField);
    }
  };
  for (const param of node.params) look(param, true);
  look(node.body, true);
  uses.this ||= uses.super;
  return uses;
}
