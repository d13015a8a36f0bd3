import type { CborValue } from "../../checkpoint/image/cbor.ts";
import {
  FUNCTION_KINDS,
  type Patch,
  PATCH_TARGETS,
  type PatchUnit,
  type RelocatableCode,
  RELOCATION_FORMS,
  SYMBOL_KINDS,
  SYMBOL_SCOPES,
  WASM_SYMBOL_KINDS,
  type WasmUnit,
} from "./patch.ts";

/** What an image's body holds; `signature` is left out of what is signed. */
export function patchBody(patch: Patch): CborValue {
  const { signature } = patch;
  return [
    PATCH_TARGETS.indexOf(patch.target),
    patch.name,
    patch.version,
    patch.description,
    [...patch.safe],
    patch.target === "js" ? patch.units.map(unitBody) : patch.wasm.map(wasmBody),
    signature === undefined ? null : [signature.publicKey, signature.signature],
  ];
}

function wasmBody({ module, base, result, functions, symbols, codeHash }: WasmUnit): CborValue {
  return [
    module,
    fromHex(base),
    fromHex(result),
    functions.map(({ name, type, oldHash }): CborValue => [name, type, fromHex(oldHash)]),
    symbols.map(({ name, kind, type }): CborValue => [name, WASM_SYMBOL_KINDS.indexOf(kind), type]),
    fromHex(codeHash),
  ];
}

function unitBody(unit: PatchUnit): CborValue {
  const { added } = unit;
  return [
    unit.module,
    fromHex(unit.base),
    fromHex(unit.result),
    unit.symbols.map(({ name, scope, kind, arity, from }): CborValue => [
      name,
      SYMBOL_SCOPES.indexOf(scope),
      SYMBOL_KINDS.indexOf(kind),
      arity,
      from,
    ]),
    unit.functions.map((each): CborValue => [
      each.id,
      each.isNew,
      FUNCTION_KINDS.indexOf(each.kind),
      each.isAsync,
      each.isGenerator,
      each.arity,
      fromHex(each.oldHash),
      fromHex(each.newHash),
      each.code,
      relocationsBody(each),
    ]),
    added === undefined ? null : [
      added.code,
      relocationsBody(added),
      added.names.map(({ name, kind, arity }): CborValue => [name, SYMBOL_KINDS.indexOf(kind), arity]),
      added.imports.map(({ name, from }): CborValue => [name, from]),
    ],
  ];
}

function relocationsBody({ relocations }: RelocatableCode): CborValue {
  return relocations.map(({ offset, length, symbol, form }): CborValue => [
    offset,
    length,
    symbol,
    RELOCATION_FORMS.indexOf(form),
  ]);
}

/** Bytes in hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
