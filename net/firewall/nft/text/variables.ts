import type { Raw, RawElement } from "../read/raw.ts";
import type { TextSource } from "./source.ts";

/** Elements that a variable may bring with it: variables made of variables grow fast. */
const VARIABLE_PARTS_MAX = 65_536;

/** Variables in force: a block's own hide those around it. */
export class Variables {
  readonly #source: TextSource;
  readonly #scopes: Map<string, { value: Raw; parts: number }>[] = [new Map()];

  constructor(source: TextSource) {
    this.#source = source;
  }

  push(): void {
    this.#scopes.push(new Map());
  }

  pop(): void {
    this.#scopes.pop();
  }

  define(name: string, value: Raw, at: number, again: boolean): void {
    const scope = this.#scopes.at(-1)!;
    if (scope.has(name) && !again) this.#source.fail(at, `$${name} is defined already: redefine changes it`);
    if (again && !this.#scopes.some((one) => one.has(name))) {
      this.#source.fail(at, `$${name} is not defined yet`);
    }
    const parts = partsOf(value);
    if (parts > VARIABLE_PARTS_MAX) {
      this.#source.fail(at, `A variable of more than ${VARIABLE_PARTS_MAX} parts`);
    }
    scope.set(name, { value, parts });
  }

  undefine(name: string, at: number): void {
    if (!this.#scopes.at(-1)!.delete(name)) this.#source.fail(at, `$${name} is not defined here`);
  }

  get(name: string, at: number): Raw {
    for (const scope of this.#scopes.toReversed()) {
      const found = scope.get(name);
      if (found !== undefined) return { ...found.value, at };
    }
    return this.#source.fail(at, `$${name} is not defined`);
  }
}

/** The nodes of an expression, up to one more than the limit. */
function partsOf(raw: Raw): number {
  let parts = 0;
  const walk = (node: Raw | RawElement): void => {
    if (++parts > VARIABLE_PARTS_MAX) return;
    if ("key" in node && !("kind" in node)) {
      walk(node.key);
      if (node.data !== undefined && node.data.kind !== "verdict") walk(node.data);
      return;
    }
    const { kind } = node;
    if (kind === "list" || kind === "concat" || kind === "set") { for (const item of node.items) walk(item); }
    else if (kind === "binary") [node.left, node.right].forEach(walk);
    else if (kind === "range") [node.low, node.high].forEach(walk);
  };
  walk(raw);
  return parts;
}
