import MagicString from "magic-string";
import { parseSync } from "oxc-parser";

/** A node of the syntax tree, as far as it matters here. */
interface Node {
  type: string;
  start: number;
  end: number;
  [key: string]: unknown;
}

/** Bytes of one item of what `new` makes. */
const ARRAYS: Readonly<Record<string, number>> = {
  ArrayBuffer: 1,
  Array: 8,
  BigUint64Array: 8,
  Float64Array: 8,
  Int32Array: 4,
  Uint8Array: 1,
  Uint8ClampedArray: 1,
  Uint16Array: 2,
  Uint32Array: 4,
};
const COMPARISONS = new Set(["===", "!==", "==", "!=", "<", "<=", ">", ">="]);
const LOOPS = new Set([
  "ForStatement",
  "ForOfStatement",
  "ForInStatement",
  "WhileStatement",
  "DoWhileStatement",
]);
/** Of TypeScript's own syntax, what has an expression in it. */
const TYPED = new Set(["TSAsExpression", "TSNonNullExpression", "TSSatisfiesExpression", "TSTypeAssertion"]);

/**
 * TypeScript with a counter at every branch, a budget at every turn of a loop and every call, a note at
 * every comparison and every allocation: see coverage.ts. Lines stay where they are.
 *
 * @param runtime Where coverage.ts is to be imported from.
 */
export function instrument(path: string, source: string, runtime: string): string {
  const { program, errors } = parseSync(path, source);
  if (errors.length > 0) throw new SyntaxError(`Cannot instrument "${path}": ${errors[0]!.message}`);
  const text = new MagicString(source);
  const count = new Instrumenter(source, text).walk(program as unknown as Node);
  text.prepend(
    `import { allocate as $a, budget as $b, compared as $k, hang as $h, moduleEdges as $m, ` +
      `switched as $s } from ${JSON.stringify(runtime)}; const $e = $m(${count}); let $t: any; `,
  );
  return text.toString();
}

class Instrumenter {
  readonly #source: string;
  readonly #text: MagicString;
  #edges = 0;

  constructor(source: string, text: MagicString) {
    this.#source = source;
    this.#text = text;
  }

  /** @returns How many edges there are. */
  walk(node: Node): number {
    this.#visit(node);
    return this.#edges;
  }

  #visit(node: Node): void {
    if (node.type.startsWith("TS") && !TYPED.has(node.type)) return; // types have no edges
    this.#mark(node);
    for (const [key, value] of Object.entries(node)) {
      if (key === "typeAnnotation" || key === "typeArguments") continue;
      for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) this.#visit(child);
    }
  }

  #mark(node: Node): void {
    switch (node.type) {
      case "FunctionDeclaration":
      case "FunctionExpression":
      case "ArrowFunctionExpression":
        return this.#function(node);
      case "IfStatement":
        if (isNode(node["alternate"])) this.#statement(node["alternate"], this.#edge());
        else this.#close(node.end, ` else { ${this.#edge()}; }`);
        return this.#statement(node["consequent"] as Node, this.#edge());
      case "ConditionalExpression":
        this.#expression(node["consequent"] as Node, this.#edge());
        this.#expression(node["alternate"] as Node, this.#edge());
        return;
      case "LogicalExpression":
        return this.#expression(node["right"] as Node, this.#edge());
      case "SwitchStatement":
        return this.#switch(node);
      case "CatchClause":
        return this.#statement(node["body"] as Node, this.#edge());
      case "BinaryExpression":
        return this.#comparison(node);
      case "NewExpression":
        return this.#allocation(node);
    }
    if (LOOPS.has(node.type)) this.#statement(node["body"] as Node, this.#turn());
  }

  /** Text in front of what starts at `at`: parents come first, and so does their text. */
  #open(at: number, text: string): void {
    this.#text.appendRight(at, text);
  }

  /** Text behind what ends at `at`: parents come first, and their text ends up last. */
  #close(at: number, text: string): void {
    this.#text.prependLeft(at, text);
  }

  #edge(): string {
    return `$e[${this.#edges++}]++`;
  }

  /** An edge at which work is counted, too. */
  #turn(): string {
    return `${this.#edge()}, --$b.left < 0 && $h()`;
  }

  #function(node: Node): void {
    const body = node["body"];
    if (!isNode(body)) return; // an overload
    if (body.type === "BlockStatement" || body.type === "FunctionBody") {
      this.#open(body.start + 1, ` ${this.#turn()};`);
    } else {
      this.#expression(body, this.#turn());
    }
  }

  #statement(node: Node, count: string): void {
    if (node.type === "BlockStatement") {
      this.#open(node.start + 1, ` ${count};`);
    } else {
      this.#open(node.start, `{ ${count}; `);
      this.#close(node.end, " }");
    }
  }

  #expression(node: Node, count: string): void {
    this.#open(node.start, `(${count}, `);
    this.#close(node.end, ")");
  }

  #switch(node: Node): void {
    const labels: string[] = [];
    for (const each of node["cases"] as Node[]) {
      const test = each["test"];
      if (isNode(test) && isSimple(test)) labels.push(this.#source.slice(test.start, test.end));
      const first = (each["consequent"] as Node[])[0];
      if (first !== undefined) this.#open(first.start, `${this.#edge()}; `);
    }
    const on = node["discriminant"] as Node;
    this.#open(on.start, "$t = (");
    this.#close(on.end, `), $b.cmp && $s($t, [${labels.join(", ")}]), $t`);
  }

  /** What is simple may be evaluated twice. */
  #comparison(node: Node): void {
    const left = node["left"] as Node;
    const right = node["right"] as Node;
    if (!COMPARISONS.has(node["operator"] as string) || !isSimple(right) || isNothing(right)) return;
    const operands = this.#source.slice(right.start, right.end);
    if (isSimple(left)) {
      const other = this.#source.slice(left.start, left.end);
      this.#open(node.start, `($b.cmp && $k(${other}, ${operands}), `);
      this.#close(node.end, ")");
      return;
    }
    if (left.type === "UnaryExpression" && left["operator"] === "typeof") return;
    this.#open(left.start, "($t = (");
    this.#close(left.end, `), $b.cmp && $k($t, ${operands}), $t`);
    this.#close(node.end, ")");
  }

  #allocation(node: Node): void {
    const callee = node["callee"] as Node;
    const each = callee.type === "Identifier" ? ARRAYS[callee["name"] as string] : undefined;
    const args = node["arguments"] as Node[];
    if (each === undefined || args.length !== 1 || args[0]!.type === "SpreadElement") return;
    this.#open(args[0]!.start, "$a(");
    this.#close(args[0]!.end, `, ${each})`);
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

/** Reading it has no effect: a name, a constant, a member or an item of such a thing. */
function isSimple(node: Node): boolean {
  switch (node.type) {
    case "Identifier":
    case "Literal":
    case "ThisExpression":
      return true;
    case "UnaryExpression":
      return node["operator"] === "-" && isSimple(node["argument"] as Node);
    case "TSNonNullExpression":
      return isSimple(node["expression"] as Node);
    case "MemberExpression":
      if (node["optional"] === true) return false;
      return isSimple(node["object"] as Node) &&
        (node["computed"] !== true || isSimple(node["property"] as Node));
    default:
      return false;
  }
}

function isNothing(node: Node): boolean {
  return (node.type === "Identifier" && node["name"] === "undefined") ||
    (node.type === "Literal" && node["value"] === null);
}
