import MagicString from "magic-string";
import { PatchError } from "../patch_error.ts";
import type { FunctionRecord, ModuleRecord } from "../apply/module_record.ts";
import { type Analysis, analyze, type AnalyzedFunction } from "./analysis.ts";
import { movesParameter } from "./functions.ts";
import type { AnyNode } from "./nodes.ts";
import { lineOf, parseSource, type Source, tokenAt } from "./source.ts";

/** Names that begin so are ours; a module that has one is refused. */
export const OUR_NAMES = "$torpor";

/** A module that can be patched while it runs. */
export interface Instrumented {
  /** JavaScript, with the lines of the source. */
  readonly code: string;
  /** The module's version, by which patches know it. */
  readonly hash: string;
  /** Functions that have a slot. */
  readonly patchable: number;
  /** Those that have none, and why. */
  readonly unpatchable: readonly { readonly id: string; readonly line: number; readonly why: string }[];
}

/**
 * Makes a module patchable. Every function first looks into a slot of its own, a variable of the module; classes and the
 * module get an accessor to their scopes. All of it stands on lines that are there: line numbers stay true.
 *
 * @param name Tells TypeScript (`.ts`) from JavaScript, and is what patches call the module.
 * @throws {PatchError} `source`, when it cannot be parsed.
 * @example
 * ```ts
 * import { instrument } from "@torpor/torpor/patching/build/instrument.ts";
 * const { patchable } = instrument("greet.ts", "export function greet(who: string) { return `Hi ${who}`; }");
 * console.log(patchable); // 1
 * ```
 */
export function instrument(name: string, source: string): Instrumented {
  const parsed = parseSource(name, source);
  const ours = parsed.tokens.find(({ type, start, end }) =>
    type.label === "name" && parsed.text.slice(start, end).startsWith(OUR_NAMES)
  );
  if (ours !== undefined) {
    const word = parsed.text.slice(ours.start, ours.end);
    throw new PatchError("source", `Cannot instrument "${name}": it has a name of ours, "${word}"`);
  }
  const analysis = analyze(parsed);
  const text = new MagicString(parsed.text);
  const slots = new Map<AnalyzedFunction, number>();
  for (const each of analysis.functions) if (each.why === undefined) slots.set(each, slots.size);
  // Inner ones first: what they append to an end that they share with outer ones must stand before it.
  for (const [each, slot] of [...slots].reverse()) addCheck(parsed, text, each, slot);
  for (const { node, index } of analysis.classes) {
    const body = node["body"] as AnyNode;
    text.appendLeft(
      body.start + 1,
      ` static { ${OUR_NAMES}C${index} = [($torpor) => eval($torpor), this]; }`,
    );
  }
  const prologue = prologueOf(name, analysis, [...slots.keys()]);
  const shebang = /^#!.*\n?/.exec(parsed.text)?.[0].length ?? 0;
  text.appendLeft(shebang, prologue);
  return {
    code: text.toString(),
    hash: analysis.hash,
    patchable: slots.size,
    unpatchable: analysis.functions.flatMap(({ id, start, why }) =>
      why === undefined ? [] : [{ id, line: lineOf(parsed, start), why }]
    ),
  };
}

/** Whether the slot holds a function that makes the function, given what is around it. */
export function isFactory({ kind, captures, uses }: AnalyzedFunction): boolean {
  return captures.length > 0 || (kind === "arrow" && uses.this);
}

/** Whether its calls are counted while they are under way. */
export function isCounted(
  { node }: { readonly node: { readonly async: boolean; readonly generator: boolean } },
): boolean {
  return node.async || node.generator;
}

function addCheck(
  { text: source, ...rest }: Source,
  text: MagicString,
  each: AnalyzedFunction,
  slot: number,
): void {
  const { node, kind } = each;
  const name = `${OUR_NAMES}${slot}`;
  const first = node.params.findIndex((param) => movesParameter(param));
  const names: string[] = [];
  const moved: string[] = [];
  for (const [index, param] of node.params.entries()) {
    if (first < 0 || index < first) {
      names.push(kept(text, source, param, name));
      continue;
    }
    const placeholder = `${OUR_NAMES}P${index}`;
    const slice = (part: AnyNode): string => source.slice(part.start, part.end);
    if (param.type === "RestElement") {
      names.push(`...${placeholder}`);
      moved.push(`${slice(param["argument"] as AnyNode)} = ${placeholder}`);
      text.overwrite(param.start, param.end, `...${placeholder}`);
    } else if (param.type === "AssignmentPattern") {
      const [left, right] = [param["left"] as AnyNode, param["right"] as AnyNode];
      names.push(placeholder);
      moved.push(`${slice(left)} = ${placeholder} === void 0 ? (${slice(right)}) : ${placeholder}`);
      text.overwrite(param.start, param.end, `${placeholder} = void 0`);
    } else {
      names.push(placeholder);
      moved.push(`${slice(param)} = ${placeholder}`);
      text.overwrite(param.start, param.end, placeholder);
    }
  }
  const passed = each.uses.arguments && kind !== "arrow" ? undefined : names.join(", ");
  const call = callOf(each, name, passed);
  const before = moved.length > 0 ? ` let ${moved.join(", ")};` : "";
  const counted = isCounted(each) ? `${OUR_NAMES}N${slot}` : undefined;
  const enter = counted === undefined ? "" : ` ${counted} = (${counted} | 0) + 1; try {`;
  const leave = counted === undefined ? "" : ` } finally { ${counted} -= 1; }`;
  const give = node.generator ? "yield* " : "";
  const check = ` if (${name} !== void 0) return ${give}${call};`;
  if (node.body.type === "BlockStatement") {
    text.appendLeft(node.body.start + 1, `${check}${before}${enter}`);
    if (leave !== "") text.appendLeft(node.body.end - 1, leave);
    return;
  }
  const arrow = arrowEnd({ text: source, ...rest }, node.body.start);
  if (before === "" && enter === "") {
    text.appendLeft(arrow, ` ${name} !== void 0 ? ${call} : (`);
    text.appendLeft(node.end, ")");
  } else {
    text.appendLeft(arrow, ` {${check}${before}${enter} return (`);
    text.appendLeft(node.end, `);${leave} }`);
  }
}

/** A parameter that stays where it is; its default is not evaluated when a patch has its own. */
function kept(text: MagicString, source: string, param: AnyNode, slot: string): string {
  if (param.type === "AssignmentPattern") {
    const right = param["right"] as AnyNode;
    text.appendLeft(right.start, `${slot} !== void 0 ? void 0 : (`);
    text.appendLeft(right.end, ")");
    param = param["left"] as AnyNode;
  }
  return source.slice(param.start, param.end);
}

/** @param passed Arguments; `undefined` for `arguments`. */
function callOf(each: AnalyzedFunction, slot: string, passed: string | undefined): string {
  const { kind, uses, captures } = each;
  let made = slot;
  if (isFactory(each)) {
    const scope = captures.map(({ name, kind }) => {
      const set = kind === "const" ? "" : `, set ${name}($torpor) { ${name} = $torpor; }`;
      return `get ${name}() { return ${name}; }${set}`;
    });
    const around = kind === "arrow" && !uses.this ? "void 0" : "this";
    made = `${slot}.call(${around}, { ${scope.join(", ")} })`;
  }
  if (kind === "arrow") return `${made}(${passed})`;
  if (passed === undefined) return `${made}.apply(this, arguments)`;
  return `${made}.call(this${passed === "" ? "" : `, ${passed}`})`;
}

/** The end of the `=>` before an arrow function's body. */
export function arrowEnd(source: Source, body: number): number {
  let index = tokenAt(source, body) - 1;
  while (source.tokens[index]!.type.label !== "=>") index--;
  return source.tokens[index]!.end;
}

/** What a module that is made of `analysis` tells of itself when it is loaded. */
export function describe(
  analysis: Analysis,
  functions: readonly AnalyzedFunction[] = analysis.functions.filter(({ why }) => why === undefined),
): Pick<ModuleRecord, "functions" | "symbols"> {
  const records = functions.map((each): FunctionRecord => [
    each.id,
    each.hash,
    each.kind,
    (each.node.async ? 1 : 0) | (each.node.generator ? 2 : 0) | (isFactory(each) ? 4 : 0) |
    (each.uses.arguments ? 8 : 0),
    each.arity,
    each.node.params.length,
    each.inClass?.index ?? -1,
    each.member === undefined || each.inClass === undefined || each.parent !== undefined
      ? -1
      : each.member.isStatic
      ? 1
      : 0,
    each.captures.map((captured) => captured.name),
  ]);
  const symbols = [...analysis.symbols.values()].map((
    { name, kind, arity, from },
  ) => [name, kind, arity, from] as const);
  return { functions: records, symbols };
}

function prologueOf(name: string, analysis: Analysis, functions: readonly AnalyzedFunction[]): string {
  const slots = functions.map((_, slot) => `${OUR_NAMES}${slot}`);
  const counted = functions.flatMap((each, slot) => isCounted(each) ? [slot] : []);
  const classes = analysis.classes.map(({ index }) => `${OUR_NAMES}C${index}`);
  const variables = [...slots, ...counted.map((slot) => `${OUR_NAMES}N${slot}`), ...classes];
  const { functions: records, symbols } = describe(analysis, functions);
  const why = analysis.functions.flatMap(({ id, why }) => why === undefined ? [] : [[id, why]]);
  return [
    variables.length > 0 ? `var ${variables.join(", ")};` : "",
    `(globalThis[Symbol.for("torpor.modules")] ??= []).push({ format: 1, name: ${JSON.stringify(name)},`,
    `meta: import.meta, hash: "${analysis.hash}", functions: ${JSON.stringify(records)},`,
    `classes: ${JSON.stringify(analysis.classes.map((each) => each.name))},`,
    `symbols: ${JSON.stringify(symbols)}, unpatchable: ${JSON.stringify(why)},`,
    `get: ($torpor) => [${slots.join(", ")}][$torpor],`,
    `set: ($torpor, $torporF) => { switch ($torpor) {`,
    ...slots.map((slot, index) => `case ${index}: ${slot} = $torporF; break;`),
    `} }, count: ($torpor) => { switch ($torpor) {`,
    ...counted.map((slot) => `case ${slot}: return ${OUR_NAMES}N${slot} | 0;`),
    `} return 0; }, class: ($torpor) => [${classes.join(", ")}][$torpor],`,
    `importFrom: ($torpor) => import($torpor), evaluate: ($torpor) => eval($torpor) });`,
  ].filter((part) => part !== "").join(" ") + " ";
}
