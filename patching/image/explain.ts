import type { Patch, PatchFunction, PatchUnit, RelocatableCode, WasmUnit } from "./patch.ts";
import { readPatch } from "./patch_image.ts";
import { toBase64 } from "./sign.ts";

/**
 * A patch in words: what it changes, by whom, for which version, and its code with what each name in it is bound to. For
 * people; the text's form may change.
 *
 * @throws {ImageError} When it is none, or is damaged.
 */
export function explainPatch(image: Uint8Array): string {
  const patch = readPatch(image);
  const lines = [`patch "${patch.name}" ${patch.version}, for ${patch.target}`, ...about(patch)];
  for (const unit of patch.units) lines.push(...unitLines(unit));
  for (const unit of patch.wasm) lines.push(...wasmLines(unit));
  return `${lines.join("\n")}\n`;
}

function* about(patch: Patch): Iterable<string> {
  if (patch.description !== "") yield `  ${patch.description}`;
  if (patch.safe.length > 0) yield `  safe while they run: ${patch.safe.join(", ")}`;
  yield patch.signature === undefined ? "  not signed" : `  signed by ${toBase64(patch.signature.publicKey)}`;
}

function* unitLines(unit: PatchUnit): Iterable<string> {
  yield `module ${unit.module}`;
  yield `  base   ${unit.base}`;
  yield `  result ${unit.result}`;
  for (const { name, scope, kind, arity, from } of unit.symbols) {
    const what = [
      scope,
      ...(kind === "unknown" || kind === scope ? [] : [kind]),
      ...(arity >= 0 ? [`of ${arity}`] : []),
      ...(from === "" ? [] : [`from ${from}`]),
    ];
    yield `  symbol ${name}: ${what.join(" ")}`;
  }
  for (const each of unit.functions) yield* functionLines(each, unit);
  if (unit.added !== undefined) {
    const { names, imports } = unit.added;
    for (const { name, from } of imports) yield `  import ${name} from ${from}`;
    yield `  added ${names.map(({ name, kind }) => `${kind} ${name}`).join(", ")}`;
    yield* codeLines(unit.added, unit);
  }
}

function* wasmLines(
  { module, base, result, functions, symbols, code, codeHash }: WasmUnit,
): Iterable<string> {
  yield `module ${module}`;
  yield `  base   ${base}`;
  yield `  result ${result}`;
  yield `  shared object of ${code.length} bytes, ${codeHash}`;
  for (const { name, kind, type } of symbols) {
    yield `  symbol ${name}: ${kind}${type === "" ? "" : ` ${type}`}`;
  }
  for (const { name, type, oldHash } of functions) yield `  replaces ${name}: ${type}\n    old ${oldHash}`;
}

function* functionLines(each: PatchFunction, unit: PatchUnit): Iterable<string> {
  const words = [each.isAsync ? "async" : "", each.isGenerator ? "generator" : "", each.kind];
  yield `  ${each.isNew ? "new" : "replaces"} ${each.id}: ${
    words.filter((word) => word !== "").join(" ")
  } of ${each.arity}`;
  if (!each.isNew) yield `    old ${each.oldHash}`;
  yield `    new ${each.newHash}`;
  yield* codeLines(each, unit);
}

function* codeLines({ code, relocations }: RelocatableCode, unit: PatchUnit): Iterable<string> {
  for (const line of code.split("\n")) yield `    | ${line}`;
  for (const { offset, symbol, form } of relocations) {
    const counts = form !== "name" && form !== "shorthand" && form !== "call";
    yield `    at ${offset} ${form}${counts ? "" : ` ${unit.symbols[symbol]!.name}`}`;
  }
}
