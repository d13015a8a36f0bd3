import { afterEach, beforeAll, expect, test } from "vitest";
import { APPLY_STEPS } from "../../patching/apply/apply_options.ts";
import { livePatches } from "../../patching/apply/live_patches.ts";
import { PatchError } from "../../patching/patch_error.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { loadPatchable, loadPlain, patchOf } from "./target.ts";

const folder = new TemporaryFolder();
let modules = 0;

/** A module of its own, so that no test meets what another has loaded. */
// deno-lint-ignore no-explicit-any
function target(source: string): { name: string; it: any } {
  const name = `m${modules++}.ts`;
  return { name, it: loadPatchable(folder, name, source) };
}

async function error(promise: Promise<unknown>): Promise<PatchError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PatchError) return error;
    throw error;
  }
  throw new Error("It was not refused");
}

beforeAll(() => () => folder[Symbol.dispose]());
afterEach(async () => {
  while (livePatches.applied.length > 0) await livePatches.rollback();
});

const ROOMS = `
export const rooms = new Map<string, Room>();
let said = 0;
const PREFIX = "> ";
export function format(who: string, text: string): string { return PREFIX + who + ": " + text; }
export class Room {
  #lines: string[] = [];
  static count = 0;
  readonly name: string;
  constructor(name: string) { this.name = name; Room.count++; rooms.set(name, this); }
  get length(): number { return this.#lines.length; }
  say(who: string, text: string): string { said++; this.#lines.push(text); return format(who, text); }
  last = (): string | undefined => this.#lines.at(-1);
  static find(name: string): Room | undefined { return rooms.get(name); }
}
export const total = (): number => said;
export function makeCounter(step: number) { let n = 0; return { next() { n += step; return n; }, peek: () => n }; }
`;

test("functions, methods, getters, constructors, arrows and closures are replaced in place, with their private state, and come back", async () => {
  const { name, it } = target(ROOMS);
  const room = new it.Room("a");
  room.say("ada", "one");
  const counter = it.makeCounter(2);
  counter.next();
  const before = { format: it.format, say: it.Room.prototype.say, next: counter.next, last: room.last };
  const patch = patchOf(
    name,
    ROOMS,
    ROOMS
      .replace(`PREFIX + who + ": " + text;`, `PREFIX + who.toUpperCase() + "= " + text;`)
      .replace("return this.#lines.length;", "return this.#lines.length * 100 + said;")
      .replace("this.#lines.push(text);", "this.#lines.push(text + '!');")
      .replace("this.#lines.at(-1)", "this.#lines.join()")
      .replace("return rooms.get(name);", "return rooms.get(name.trim());")
      .replace("=> said;", "=> -said;")
      .replace("Room.count++;", "Room.count += 10; this.#lines.push('made');")
      .replace("n += step;", "n += 10 * step;"),
  );
  expect(patch.units[0]!.functions.map(({ id }) => id)).toEqual([
    ...[
      "format",
      "Room.constructor",
      "Room.prototype.get length",
      "Room.prototype.say",
      "Room.prototype.last",
    ],
    ...["Room.find", "total", "makeCounter/next"],
  ]);
  const { tookMs } = await livePatches.apply(patch);
  expect(tookMs.switch).toBeGreaterThanOrEqual(0);
  expect(it.format("b", "c")).toBe("> B= c");
  expect(room.say("ada", "two")).toBe("> ADA= two");
  expect(room.length).toBe(202);
  expect(room.last()).toBe("one,two!");
  expect(it.Room.find(" a ")).toBe(room);
  expect(it.total()).toBe(-2);
  expect(counter.next()).toBe(22);
  expect(counter.peek()).toBe(22);
  expect(new it.Room("b").length).toBe(102);
  expect(it.Room.count).toBe(11);
  expect({ format: it.format, say: it.Room.prototype.say, next: counter.next, last: room.last }).toEqual(
    before,
  );
  await livePatches.rollback("patch");
  expect(it.format("b", "c")).toBe("> b: c");
  expect(room.length).toBe(2);
  expect(room.last()).toBe("two!");
  expect(counter.next()).toBe(24);
  expect(it.total()).toBe(2);
  expect(new it.Room("c").length).toBe(0);
});

test("a patch adds declarations, imports and methods, changes state by its hooks, and takes all of it back", async () => {
  const { name, it } = target(ROOMS);
  const room = new it.Room("a");
  const patch = patchOf(
    name,
    ROOMS,
    ROOMS
      .replace(
        "export const rooms",
        `import { basename, join as joined } from "node:path";\nexport const rooms`,
      )
      .replace("said++;", "said++; seen.set(this, now(who));")
      .replace(
        "static find",
        "history(): string { return joined(seen.get(this) ?? '', basename('x/y')) + count; }\n  static make(name: string) { return new Room(name); }\n  static find",
      ) +
      `
const seen = new WeakMap<Room, string>();
let count = 0;
function now(who: string): string { count++; return who + "@" + rooms.size; }
class Extra { value = count; }
function onPatchApply(): void { for (const each of rooms.values()) seen.set(each, "never"); count = 5; }
function onPatchRollback(): void { said = 77; }
function onPatchCheck(): boolean { return new Extra().value === 5; }
`,
  );
  await livePatches.apply(patch);
  expect(room.history()).toBe("never/y5");
  room.say("ada", "hi");
  expect(room.history()).toBe("ada@1/y6");
  expect(it.Room.make("z").name).toBe("z");
  expect(Object.keys(room)).not.toContain("history");
  await livePatches.rollback();
  expect(room.history).toBeUndefined();
  expect(it.Room.make).toBeUndefined();
  expect(it.total()).toBe(77);
});

test("patches stack: a later one uses what an earlier one declared, and they come off in order", async () => {
  const { name, it } = target(ROOMS);
  const second = ROOMS.replace("said++;", "said += bonus();") +
    "let extra = 4;\nfunction bonus() { return extra; }\n";
  const third = second.replace("said += bonus();", "extra++; said += bonus() + 1;").replace(
    "=> said;",
    "=> said + extra;",
  );
  const room = new it.Room("a");
  await livePatches.apply(patchOf(name, ROOMS, second, { name: "second" }));
  room.say("", "");
  expect(it.total()).toBe(4);
  const last = patchOf(name, second, third, { name: "third" });
  await livePatches.apply(last);
  room.say("", "");
  expect(it.total()).toBe(4 + 6 + 5);
  expect(livePatches.applied.map(({ patch }) => patch.name)).toEqual(["second", "third"]);
  expect(await error(livePatches.rollback("second"))).toMatchObject({ reason: "order" });
  await livePatches.rollback();
  room.say("", "");
  expect(it.total()).toBe(15);
  await livePatches.rollback("second");
  room.say("", "");
  expect(it.total()).toBe(16);
  expect(await error(livePatches.apply(last))).toMatchObject({ reason: "base" });
});

test("whatever fails at any step, nothing of the patch is there", async () => {
  const { name, it } = target(ROOMS);
  const room = new it.Room("a");
  const patch = patchOf(
    name,
    ROOMS,
    ROOMS
      .replace("return PREFIX", "return 'new' + PREFIX")
      .replace("static find", "history() { return 1; }\n  static find") +
      "let added = 1;\nfunction onPatchApply() { said += added; }\nfunction onPatchRollback() { said -= added; }\n",
  );
  const look =
    (): unknown => [it.format("a", "b"), room.history, it.total(), livePatches.modules, livePatches.applied];
  const before = look();
  const reached: string[] = [];
  for (const failing of APPLY_STEPS) {
    const onStep = (step: string): void => {
      if (step === failing) throw new PatchError("busy", `No ${step}`);
    };
    expect((await error(livePatches.apply(patch, { onStep }))).message).toBe(`No ${failing}`);
    expect(look(), failing).toEqual(before);
    reached.push(failing);
  }
  expect(reached.length).toBe(10);
  expect(await error(livePatches.apply(patch, { health: () => false }))).toMatchObject({ reason: "health" });
  expect(await error(livePatches.apply(patch, { health: () => Promise.reject(new Error("ill")) })))
    .toMatchObject({ reason: "health" });
  expect(await error(livePatches.apply(patch, { record: () => Promise.reject(new Error("full")) })))
    .toMatchObject({ reason: "record" });
  expect(look()).toEqual(before);
  const ill = (code: string): Promise<PatchError> =>
    error(
      livePatches.apply(
        patchOf(name, ROOMS, `${ROOMS.replace("return PREFIX", "return 'new' + PREFIX")}${code}`),
      ),
    );
  expect(await ill("const x = null.y;")).toMatchObject({ reason: "initializer" });
  expect(await ill("function onPatchApply() { throw new Error('no'); }")).toMatchObject({ reason: "hook" });
  expect(await ill("function onPatchCheck() { return false; }")).toMatchObject({ reason: "health" });
  expect(await ill("async function onPatchCheck() { throw new Error('ill'); }")).toMatchObject({
    reason: "health",
  });
  expect(look()).toEqual(before);
  await livePatches.apply(patch);
  expect(it.format("a", "b")).toBe("new> a: b");
  expect(await error(livePatches.apply(patch))).toMatchObject({ reason: "applied" });
  expect(await error(livePatches.apply({ ...patch, name: "other" }))).toMatchObject({ reason: "applied" });
});

const SHAPES = `
export function viaArrow() { return (() => arguments.length + [...arguments].length)(); }
export function defaults(a, b = a * 2, { c, d = b } = { c: 3 }, [e] = [4], ...[f = 5, ...g]) { return [a, b, c, d, e, f, g]; }
export function* counts(n) { const got = yield n; return got; }
export async function* ticks(n) { for (let i = 0; i < n; i++) yield i; return n; }
export const arrows = (a) => (b) => ({ a, b, sum: () => a + b });
export class Base { static #made = 0; static make() { Base.#made++; return new this(); } static get made() { return Base.#made; } hi() { return "base"; } }
export class Derived extends Base { #own = () => this.hi(); hi() { return "derived of " + super.hi(); } viaField() { return this.#own(); } has(o) { return #own in o; } }
export const object = { get it() { return this.value; }, set it(v) { this.value = v; }, ["com" + "puted"]() { return 1; }, async later() { return await this.value; } };
export default class { m() { return 1; } }
for (const each of [1, 2]) object["f" + each] = () => each;
export function Old(x) { this.x = x; }
Old.prototype.get = function () { return this.x; };
export function fails() { try { throw new Error("x"); } catch ({ message }) { return () => message; } }
`;
// deno-lint-ignore no-explicit-any
const ALL_SHAPES = async (it: any): Promise<unknown> => {
  const generator = it.counts(1);
  const ticks: number[] = [];
  for await (const tick of it.ticks(3)) ticks.push(tick);
  const derived = it.Derived.make();
  it.object.it = 7;
  return [
    it.viaArrow(1, 2),
    it.defaults(1),
    it.defaults(1, 2, { c: 0 }, [1], 2, 3, 4),
    it.defaults.length,
    [generator.next(), generator.next("got"), generator.next()],
    ticks,
    it.arrows(1)(2).sum(),
    [derived.hi(), derived.viaField(), derived.has(derived), derived.has({}), it.Base.made > 0],
    [it.object.it, it.object.computed(), await it.object.later(), it.object.f1(), it.object.f2()],
    new it.default().m(),
    [new it.Old(3).get(), new it.Old(3) instanceof it.Old],
    it.fails()(),
    [
      it.Old.name,
      it.arrows.name,
      it.Base.name,
      it.default.name,
      it.object.later.name,
      it.Base.prototype.hi.length,
    ],
  ];
};

test("functions of every shape do the same patchable, patched and rolled back", async () => {
  const source = new TemporaryFolder();
  const plain = loadPlain(source, SHAPES);
  const expected = await ALL_SHAPES(plain);
  const { name, it } = target(SHAPES);
  expect(await ALL_SHAPES(it)).toEqual(expected);
  const newer = SHAPES.replace(/\breturn /g, "void 0; return ").replace(/=> (?=[a-z[(])/g, "=> void 0 ?? ");
  const patch = patchOf(name, SHAPES, newer.replace("void 0 ?? (b) => void 0 ?? (", "(b) => ("));
  expect(patch.units[0]!.functions.length).toBeGreaterThan(18);
  await livePatches.apply(patch);
  expect(await ALL_SHAPES(it)).toEqual(expected);
  await livePatches.rollback();
  expect(await ALL_SHAPES(it)).toEqual(expected);
  source[Symbol.dispose]();
});

const WAITING = `
let release: () => void = () => {};
export function go(): void { release(); }
export async function wait(): Promise<string> { await new Promise<void>((resolve) => { release = resolve; }); return "old"; }
export function* steps() { yield 1; yield 2; return "old"; }
`;

test("a replaced async function or generator that is under way is waited for, refused in time, or declared safe", async () => {
  const { name, it } = target(WAITING);
  const newer = WAITING.replaceAll(`"old"`, `"new"`);
  const patch = patchOf(name, WAITING, newer);
  const running = it.wait();
  expect(await error(livePatches.apply(patch, { patienceMs: 0 }))).toMatchObject({
    reason: "active",
    function: "wait",
  });
  const applied = livePatches.apply(patch, { patienceMs: 60_000 });
  setTimeout(() => it.go(), 5);
  await applied;
  expect(await running).toBe("old");
  const later = it.wait();
  expect(await error(livePatches.rollback(undefined, { patienceMs: 0 }))).toMatchObject({
    reason: "active",
    function: "wait",
  });
  it.go();
  expect(await later).toBe("new");
  await livePatches.rollback();
  const generator = it.steps();
  generator.next();
  expect(await error(livePatches.apply(patch, { patienceMs: 0 }))).toMatchObject({
    reason: "active",
    function: "steps",
  });
  await livePatches.apply(patchOf(name, WAITING, newer, { safe: ["steps"] }));
  expect([...generator]).toEqual([2]);
  expect(it.steps().next().value).toBe(1);
});
