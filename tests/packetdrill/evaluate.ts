import { Unsupported } from "./script.ts";

/** An assertion of a script's code that does not hold. `line` counts from the block's first. */
export class AssertionFailed extends Error {
  readonly line: number;
  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

type Value = number | string;

/** What code has assigned: it stays for the blocks behind it. */
export type Variables = Record<string, Value>;

const TOKEN =
  /\s*(0x[0-9a-fA-F]+|\d+\.\d+|\d+|[A-Za-z_]\w*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|==|!=|<=|>=|<<|>>|\/\/|[-+*\/%&|^~<>(),=])/y;
/** Operators by how loosely they bind. */
const LEVELS: readonly (readonly string[])[] = [["|"], ["^"], ["&"], ["<<", ">>"], ["+", "-"], [
  "*",
  "/",
  "//",
  "%",
]];
const COMPARISONS = ["==", "!=", "<", "<=", ">", ">="];

/**
 * Checks a block of code: assertions about numbers, the part of Python that scripts use.
 *
 * @throws {AssertionFailed} When an assertion does not hold.
 * @throws {Unsupported} When the block needs more than that.
 */
export function runCode(
  text: string,
  names: Readonly<Record<string, number>>,
  variables: Variables = {},
): void {
  Object.assign(variables, names);
  joinLines(text).forEach((line, index) => {
    for (const statement of splitStatements(line)) runStatement(statement, variables, index);
  });
}

/** Lines that go on, behind a backslash or in open parentheses, at the place of their first; the others empty. */
function joinLines(text: string): string[] {
  const lines = text.split("\n");
  const joined = lines.map(() => "");
  let first = 0;
  for (let at = 0; at < lines.length; at++) {
    joined[first] += lines[at]!.replace(/\\\s*$/, " ");
    const open = joined[first]!.split("(").length > joined[first]!.split(")").length;
    if (!open && !/\\\s*$/.test(lines[at]!)) first = at + 1;
  }
  return joined;
}

function splitStatements(line: string): string[] {
  const bare = line.replace(
    /("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|#.*$/g,
    (_, text: string | undefined) => text ?? "",
  );
  return (bare.match(/(?:[^;"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')+/g) ?? []).map((each) => each.trim())
    .filter((each) => each !== "");
}

function runStatement(text: string, variables: Record<string, Value>, line: number): void {
  if (/^(print\b|import\b|pass\b)/.test(text)) return;
  const assigned = /^([A-Za-z_]\w*)\s*=(?!=)([\s\S]*)$/.exec(text);
  if (assigned !== null) {
    variables[assigned[1]!] = new Evaluator(assigned[2]!, variables).only();
    return;
  }
  const changed = /^([A-Za-z_]\w*)\s*([-+*])=([\s\S]*)$/.exec(text);
  if (changed !== null) {
    const [, name, operator, rest] = changed as unknown as [string, string, string, string];
    variables[name] = new Evaluator(`${name} ${operator} (${rest})`, variables).only();
    return;
  }
  const asserted = /^assert\b([\s\S]*)$/.exec(text);
  if (asserted === null) throw new Unsupported(`code "${text}"`);
  const evaluator = new Evaluator(asserted[1]!, variables);
  if (truth(evaluator.expression())) return;
  const seen = [...new Set(asserted[1]!.match(/tcpi_\w+/g) ?? [])].map((name) =>
    `${name} = ${variables[name]}`
  );
  throw new AssertionFailed(line, `assertion failed: ${asserted[1]!.trim()}; ${seen.join(", ")}`);
}

function truth(value: Value): boolean {
  return value !== 0 && value !== "";
}

class Evaluator {
  readonly #tokens: string[] = [];
  readonly #text: string;
  readonly #variables: Readonly<Record<string, Value>>;
  #at = 0;

  constructor(text: string, variables: Readonly<Record<string, Value>>) {
    this.#text = text.trim();
    this.#variables = variables;
    const token = new RegExp(TOKEN.source, "y");
    while (token.lastIndex < this.#text.length) {
      const found = token.exec(this.#text);
      if (found === null) throw new Unsupported(`code "${this.#text}"`);
      this.#tokens.push(found[1]!);
    }
  }

  /** The value of the whole text. */
  only(): Value {
    const value = this.expression();
    if (this.#at < this.#tokens.length) throw new Unsupported(`code "${this.#text}"`);
    return value;
  }

  expression(): Value {
    let value = this.#and();
    while (this.#take("or")) {
      const right = this.#and();
      value = truth(value) ? value : right;
    }
    return value;
  }

  #and(): Value {
    let value = this.#not();
    while (this.#take("and")) {
      const right = this.#not();
      value = truth(value) ? right : value;
    }
    return value;
  }

  #not(): Value {
    return this.#take("not") ? Number(!truth(this.#not())) : this.#comparison();
  }

  /** Python's: `a < b < c` holds when both do. */
  #comparison(): Value {
    let left = this.#binary(0);
    if (!COMPARISONS.includes(this.#tokens[this.#at] ?? "")) return left;
    let holds = true;
    while (COMPARISONS.includes(this.#tokens[this.#at] ?? "")) {
      const operator = this.#tokens[this.#at++]!;
      const right = this.#binary(0);
      holds &&= compare(operator, left, right);
      left = right;
    }
    return Number(holds);
  }

  #binary(level: number): Value {
    const operators = LEVELS[level];
    if (operators === undefined) return this.#unary();
    let left = this.#binary(level + 1);
    while (operators.includes(this.#tokens[this.#at] ?? "")) {
      const operator = this.#tokens[this.#at++]!;
      left = compute(operator, Number(left), Number(this.#binary(level + 1)));
    }
    return left;
  }

  #unary(): Value {
    if (this.#take("-")) return -this.#unary();
    if (this.#take("~")) return ~Number(this.#unary());
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new Unsupported(`code "${this.#text}"`);
    if (token === "(") {
      const value = this.expression();
      if (!this.#take(")")) throw new Unsupported(`code "${this.#text}"`);
      return value;
    }
    if (/^\d/.test(token)) return Number(token);
    if (/^["']/.test(token)) return token.slice(1, -1);
    if (token === "True" || token === "False") return Number(token === "True");
    if ((token === "abs" || token === "int" || token === "min" || token === "max") && this.#take("(")) {
      const values = [Number(this.expression())];
      while (this.#take(",")) values.push(Number(this.expression()));
      if (!this.#take(")")) throw new Unsupported(`code "${this.#text}"`);
      return token === "int" ? Math.trunc(values[0]!) : Math[token](...values as [number]);
    }
    const value = this.#variables[token];
    if (value === undefined) throw new Unsupported(`name ${token} in code`);
    return value;
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }
}

function compare(operator: string, left: Value, right: Value): boolean {
  switch (operator) {
    case "==":
      return left === right;
    case "!=":
      return left !== right;
    case "<":
      return left < right;
    case "<=":
      return left <= right;
    case ">":
      return left > right;
    default:
      return left >= right;
  }
}

function compute(operator: string, left: number, right: number): number {
  switch (operator) {
    case "|":
      return (left | right) >>> 0;
    case "^":
      return (left ^ right) >>> 0;
    case "&":
      return (left & right) >>> 0;
    case "<<":
      return left * 2 ** right;
    case ">>":
      return Math.floor(left / 2 ** right);
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "//":
      return Math.floor(left / right);
    default:
      return left - right * Math.floor(left / right);
  }
}
