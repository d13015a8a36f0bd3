import { expect, test } from "vitest";
import { derivePatch } from "../../patching/build/derive.ts";
import { patchFromSource } from "../../patching/build/from_source.ts";
import { instrument } from "../../patching/build/instrument.ts";
import { PatchError } from "../../patching/patch_error.ts";
import { refusals } from "./target.ts";

const BASE = `import { a } from "./a.js";
const K = 1;
let n = 0;
export function f(x, y) { return x + y + n; }
export const g = (x) => x * K;
export async function h() { return 1; }
export function outer(p, q) { const held = p; return [() => held, function () { return arguments.length + held; }, () => 1]; }
class Base { #x = 1; field = 2; m() { return this.#x; } get size() { return 1; } static s() { return 1; } }
export class Derived extends Base { constructor() { super(); this.z = 1; } m() { return super.m(); } }
const table = { open() { return 1; }, get it() { return 2; }, close: (x) => x, late({ x }) { return x; } };
{ let local = 1; table.block = () => local; }
start();
function start() { n++; }
`;

/** What becomes of a module when `from` becomes `to` in it: the refusals. */
function refused(from: string, to: string): string[] {
  expect(BASE, from).toContain(from);
  return refusals(derivePatch("m.js", BASE, BASE.replace(from, () => to), { name: "p" }));
}

const REFUSED: readonly [from: string, to: string, why: string][] = [
  ["f(x, y)", "f(x, y, z)", "f: it takes 3 parameters and took 2: callers see its length"],
  ["f(x, y)", "f(x, y, z = 1)", "f: it takes (3) and took (2): what it did not take is not passed on"],
  ["f(x, y)", "f(x, y, ...z)", "f: it takes (2, ...) and took (2): what it did not take is not passed on"],
  ["function f", "async function f", "f: it was not async and is so"],
  ["async function h() { return 1; }", "function h() { return 1; }", "h: it was async and is not so"],
  ["function f", "function* f", "f: it was not a generator and is so"],
  ["return x + y + n", "return arguments[2]", "f: it uses arguments, which the old one does not pass on"],
  ["return x + y + n", "return new.target", "f: it uses new.target, which is not passed on"],
  ["return x + y + n", "K = 2; return 1", 'f: it assigns to "K", which is a constant of the module'],
  ["(x) => x * K", "(x) => x * this", "g: it uses this, which the old one does not hold"],
  ["(x) => x * K", "function (x) { return x }", "g: it was an arrow and is a function"],
  [
    "() => held",
    "() => q",
    'outer/(0): it uses "q" of the function around it, which the old one does not hold',
  ],
  [
    "return [() => held",
    "return [() => { held = 1; }",
    'outer/(0): it assigns to "held", which is a constant around it',
  ],
  [
    "super(); this.z = 1",
    "super(); this.z = 2",
    "Derived.constructor: it is the constructor of a derived class: nothing runs before super()",
  ],
  ["return this.#x;", "return this.#y;", "Cannot parse"],
  ["field = 2", "field = 3", "Base: field: it has changed, and runs once for each object, or at load"],
  [
    "field = 2;",
    "field = 2; other = 1;",
    "Base: other: a class that exists gets no fields: keep them in a WeakMap",
  ],
  [
    "field = 2;",
    "field = 2; #m() {}",
    "Base: #m: a class that exists gets no private methods: write a function",
  ],
  [
    "field = 2;",
    "field = 2; get other() { return 1; }",
    "Base: get other: only plain methods can be added to a class",
  ],
  ["get size() { return 1; }", "", "Base: get size: it is gone"],
  [
    "m() { return this.#x; }",
    "async m() { return this.#x; }",
    "Base.prototype.m: it was not async and is so",
  ],
  ["class Base {", "class Base extends Array {", "Base: line 8 has changed, and runs once, at load"],
  ["start();", "start(1);", "line 12: line 12 has changed, and runs once, at load"],
  ["start();", "start(); start();", "line 12: it is new, and runs once, at load"],
  ["start();", "", "line 12: it is gone, and runs once, at load"],
  ["const K = 1;", "const K = 2;", "K: line 2 has changed, and runs once, at load"],
  ["const K = 1;", "let K = 1;", "K: line 2 has changed, and runs once, at load"],
  [
    "open() { return 1; }",
    "open() { return 1; }, more() {}",
    "table: line 10 has changed, and runs once, at load",
  ],
  [
    "open() { return 1; }",
    "open() { return super.x; }",
    "table.open: it uses super outside a class's own methods",
  ],
  ["{ a } from", "{ b as a } from", "a: it is imported from ./a.js#b, which it was not"],
  ["const K", 'import "./more.js"; const K', "./more.js: it is imported for what it does at load"],
];

test("what cannot be patched is refused by name, with the reason", () => {
  for (const [from, to, why] of REFUSED) {
    let found: string[];
    try {
      found = refused(from, to);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      found = [error.message.slice(0, why.length)];
    }
    expect(found, `${from} -> ${to}`).toContain(why);
  }
});

/** Functions that become parts of the patch, and other findings. */
function replaced(from: string, to: string): string[] {
  const { patch, findings } = derivePatch("m.js", BASE, BASE.replace(from, () => to), { name: "p" });
  expect(findings.filter(({ verdict }) => verdict === "refused"), from).toEqual([]);
  return [
    ...(patch?.units[0]?.functions ?? []).map(({ id, isNew }) => (isNew ? `new ${id}` : id)),
    ...(patch?.units[0]?.added?.names ?? []).map(({ name }) => `added ${name}`),
    ...(patch?.units[0]?.added?.imports ?? []).map(({ name, from }) => `import ${name} from ${from}`),
    ...findings.filter(({ verdict }) => verdict === "note").map(({ what, why }) => `note ${what}: ${why}`),
  ];
}

test("the smallest functions that hold the change are replaced", () => {
  expect(replaced("x + y + n", "x - y - n")).toEqual(["f"]);
  expect(replaced("() => held", "() => [held, n, K, a]")).toEqual(["outer/(0)"]);
  expect(replaced("arguments.length + held", "arguments[0] + held")).toEqual(["outer/(1)"]);
  expect(replaced("const held = p", "const held = q")).toEqual(["outer"]);
  expect(replaced("() => 1]", "() => 1, () => q]")).toEqual(["outer"]);
  expect(replaced("m() { return super.m(); }", "m() { return super.m() + 1; }")).toEqual([
    "Derived.prototype.m",
  ]);
  expect(replaced("get it() { return 2; }", "get it() { return 3; }")).toEqual(["table.get it"]);
  expect(replaced("late({ x }) { return x; }", "late({ x, y = 1 }) { return y; }")).toEqual([
    "table.late",
  ]);
  expect(replaced("() => local", "() => ++local")).toEqual(["table.block"]);
  expect(replaced("field = 2;", "field = 2; more() { return this.#x; }")).toEqual([
    "new Base.prototype.more",
  ]);
  expect(replaced("let n = 0;", "let n = 0; const m = n + 1; class C {}")).toEqual([
    "added m",
    "added C",
  ]);
  expect(replaced("const K", 'import * as b from "./b.js"; const K')).toEqual([
    "import b from ./b.js#*",
  ]);
  expect(replaced("const K", "export const L = 1; const K")).toEqual([
    "added L",
    "note L: other modules cannot import it until a restart",
  ]);
});

test("layout, comments and types are no change", () => {
  expect(replaced("x + y + n", "x +\n  y /* and */ + n")).toEqual([]);
  const typed = BASE.replace("f(x, y)", "f(x: number, y: number): number").replace(
    "let n = 0",
    "let n: number = 0",
  );
  const { patch, findings } = derivePatch("m.ts", BASE, typed, { name: "p" });
  expect({ patch, findings }).toEqual({ patch: undefined, findings: [] });
});

test("a patch source is built against the target's own names", () => {
  const { patch, findings } = patchFromSource(
    "m.ts",
    BASE,
    `const log: string[] = [];
function f(x: number, y: number) { log.push("f"); return x + y + n + K; }
class Base { m() { return this.#x + log.length; } more(): number { return 1; } }`.replace(
      "this.#x",
      "this.size",
    ),
    { name: "p" },
  );
  expect(findings.filter(({ verdict }) => verdict === "refused")).toEqual([]);
  expect(patch!.units[0]!.functions.map(({ id }) => id)).toEqual([
    "f",
    "Base.prototype.m",
    "Base.prototype.more",
  ]);
  expect(patch!.units[0]!.symbols).toEqual([
    { name: "log", scope: "added", kind: "const", arity: -1, from: "" },
    { name: "n", scope: "module", kind: "let", arity: -1, from: "" },
    { name: "K", scope: "module", kind: "const", arity: -1, from: "" },
  ]);
  expect(() => patchFromSource("m.js", BASE, "f(1);", { name: "p" })).toThrow(
    '"f(1);" declares nothing',
  );
});

test("sources that cannot be read are refused with their line, and so is a name of ours", () => {
  expect(() => instrument("a.ts", "let a = 1;\nenum B { c }")).toThrow(
    "enum is not supported in strip-only mode (line 2)",
  );
  expect(() => instrument("a.js", "let a = ;")).toThrow(PatchError);
  expect(() => instrument("a.js", "let $torpor1 = 1;")).toThrow('it has a name of ours, "$torpor1"');
});
