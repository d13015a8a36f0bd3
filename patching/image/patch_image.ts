import type { CborValue } from "../../checkpoint/image/cbor.ts";
import { ImageError } from "../../checkpoint/image/image_error.ts";
import { Kind, registerKind } from "../../checkpoint/image/kinds.ts";
import { readImage } from "../../checkpoint/image/read.ts";
import { writeImage } from "../../checkpoint/image/write.ts";
import {
  CODE_CHARACTERS_MAX,
  DESCRIPTION_CHARACTERS_MAX,
  FUNCTIONS_MAX,
  NAME_CHARACTERS_MAX,
  RELOCATIONS_MAX,
  SYMBOLS_MAX,
  UNITS_MAX,
} from "./limits.ts";
import {
  type AddedCode,
  FUNCTION_KINDS,
  type Patch,
  PATCH_TARGETS,
  type PatchFunction,
  type PatchSignature,
  type PatchSymbol,
  type PatchUnit,
  type RelocatableCode,
  type Relocation,
  RELOCATION_FORMS,
  SYMBOL_KINDS,
  SYMBOL_SCOPES,
  WASM_SYMBOL_KINDS,
  type WasmUnit,
} from "./patch.ts";
import { patchBody, toHex } from "./patch_body.ts";

const FIELDS = ["target", "name", "version", "description", "safe", "units", "signature"];
registerKind(Kind.Patch, 1, FIELDS);

/**
 * The image of a patch: the same patch gives the same bytes, always.
 *
 * @throws {ImageError} When the patch says what cannot be, or is over a limit.
 */
export function writePatch(patch: Patch): Uint8Array<ArrayBuffer> {
  const body = patchBody(patch);
  const chunks = patch.wasm.map(({ code }) => code);
  patchOf(body, chunks);
  return writeImage({ kind: Kind.Patch, body, chunks });
}

/**
 * Reads the image of a patch, and checks all that it says of itself; what it says of its target is checked when it is
 * applied, and its signature by `verifyPatch`.
 *
 * @throws {ImageError} When the bytes are damaged, are no patch, or say what cannot be.
 * @example
 * ```ts ignore
 * import { readPatch } from "@torpor/torpor/patching/image/patch_image.ts";
 * console.log(readPatch(bytes).description);
 * ```
 */
export function readPatch(image: Uint8Array): Patch {
  const { kind, body, chunks } = readImage(image);
  if (kind !== Kind.Patch) throw refusal("it is no patch");
  return patchOf(body, chunks);
}

function patchOf(body: CborValue, chunks: readonly Uint8Array[]): Patch {
  const [target, name, version, description, safe, units, signature] = tuple(
    body,
    FIELDS.length,
    "the patch",
  );
  const isWasm = choice(target, PATCH_TARGETS, "target") === "wasm";
  const read: Patch = {
    target: isWasm ? "wasm" : "js",
    name: text(name, "name", NAME_CHARACTERS_MAX, 1),
    version: text(version, "version"),
    description: text(description, "description", DESCRIPTION_CHARACTERS_MAX),
    safe: list(safe, "safe", FUNCTIONS_MAX, (each) => text(each, "safe", NAME_CHARACTERS_MAX, 1)),
    units: isWasm ? [] : list(units, "units", UNITS_MAX, unitOf),
    wasm: isWasm ? list(units, "units", UNITS_MAX, (each, index) => wasmOf(each, chunks[index])) : [],
    signature: signature === null ? undefined : signatureOf(signature),
  };
  const modules = [...read.units, ...read.wasm].map((unit) => unit.module);
  if (modules.length === 0) throw refusal("it changes no module");
  if (chunks.length !== read.wasm.length) throw refusal(`it has ${chunks.length} chunks of code`);
  distinct(modules, "module");
  return read;
}

function wasmOf(value: CborValue, code: Uint8Array | undefined): WasmUnit {
  const [moduleName, base, result, functions, symbols, codeHash] = tuple(value, 6, "a unit");
  if (code === undefined) throw refusal("a unit has no code");
  const name = text(moduleName, "module", NAME_CHARACTERS_MAX, 1);
  return {
    module: name,
    base: hash(base, "base"),
    result: hash(result, "result"),
    functions: list(functions, "functions", FUNCTIONS_MAX, (each) => {
      const [name, type, oldHash] = tuple(each, 3, "a function");
      return {
        name: text(name, "a function's name", NAME_CHARACTERS_MAX, 1),
        type: text(type, "a function's type"),
        oldHash: hash(oldHash, "a function's old hash"),
      };
    }),
    symbols: list(symbols, "symbols", SYMBOLS_MAX, (each) => {
      const [name, kind, type] = tuple(each, 3, "a symbol");
      return {
        name: text(name, "a symbol's name", NAME_CHARACTERS_MAX, 1),
        kind: choice(kind, WASM_SYMBOL_KINDS, "a symbol's kind"),
        type: text(type, "a symbol's type"),
      };
    }),
    codeHash: hash(codeHash, "the code's hash"),
    code,
  };
}

function unitOf(value: CborValue): PatchUnit {
  const [moduleName, base, result, symbols, functions, added] = tuple(value, 6, "a unit");
  const name = text(moduleName, "module", NAME_CHARACTERS_MAX, 1);
  const unit: PatchUnit = {
    module: name,
    base: hash(base, "base"),
    result: hash(result, "result"),
    symbols: list(symbols, "symbols", SYMBOLS_MAX, symbolOf),
    functions: list(functions, "functions", FUNCTIONS_MAX, functionOf),
    added: added === null ? undefined : addedOf(added),
  };
  distinct(unit.functions.map(({ id }) => id), `function of ${name}`);
  if (unit.functions.length === 0 && unit.added === undefined) {
    throw refusal(`it changes nothing of "${name}"`);
  }
  for (const code of [...unit.functions, ...(unit.added === undefined ? [] : [unit.added])]) {
    for (const { symbol, form } of code.relocations) {
      const counts = form !== "name" && form !== "shorthand" && form !== "call";
      if (counts ? symbol !== 0 : symbol >= unit.symbols.length) {
        throw refusal(`a relocation of "${name}" names symbol ${symbol}`);
      }
    }
  }
  return unit;
}

function symbolOf(value: CborValue): PatchSymbol {
  const [name, scope, kind, arity, from] = tuple(value, 5, "a symbol");
  const where = choice(scope, SYMBOL_SCOPES, "a symbol's scope");
  if (where === "meta" && name !== "import.meta" && name !== "import()") throw refusal("a symbol of no name");
  return {
    name: where === "meta" ? name as string : identifier(name),
    scope: where,
    kind: choice(kind, SYMBOL_KINDS, "a symbol's kind"),
    arity: whole(arity, "a symbol's arity", -1, 0xffff),
    from: text(from, "a symbol's module", 2 * NAME_CHARACTERS_MAX),
  };
}

function functionOf(value: CborValue): PatchFunction {
  const [id, isNew, kind, isAsync, isGenerator, arity, oldHash, newHash, code, relocations] = tuple(
    value,
    10,
    "a function",
  );
  const name = text(id, "a function's name", NAME_CHARACTERS_MAX, 1);
  const fresh = flag(isNew, name);
  return {
    id: name,
    isNew: fresh,
    kind: choice(kind, FUNCTION_KINDS, `the kind of "${name}"`),
    isAsync: flag(isAsync, name),
    isGenerator: flag(isGenerator, name),
    arity: whole(arity, `the arity of "${name}"`, 0, 0xffff),
    oldHash: fresh ? noHash(oldHash, name) : hash(oldHash, `the old hash of "${name}"`),
    newHash: hash(newHash, `the new hash of "${name}"`),
    ...codeOf(code, relocations, `"${name}"`),
  };
}

function addedOf(value: CborValue): AddedCode {
  const [code, relocations, names, imports] = tuple(value, 4, "what is added");
  const added: AddedCode = {
    ...codeOf(code, relocations, "what is added"),
    names: list(names, "added names", SYMBOLS_MAX, (each) => {
      const [name, kind, arity] = tuple(each, 3, "an added name");
      return {
        name: identifier(name),
        kind: choice(kind, SYMBOL_KINDS, "an added name's kind"),
        arity: whole(arity, "an added name's arity", -1, 0xffff),
      };
    }),
    imports: list(imports, "added imports", SYMBOLS_MAX, (each) => {
      const [name, from] = tuple(each, 2, "an added import");
      return { name: identifier(name), from: text(from, "an import's module", 2 * NAME_CHARACTERS_MAX, 1) };
    }),
  };
  distinct([...added.names, ...added.imports].map(({ name }) => name), "added name");
  return added;
}

function codeOf(
  code: CborValue | undefined,
  relocations: CborValue | undefined,
  of: string,
): RelocatableCode {
  const source = text(code, `the code of ${of}`, CODE_CHARACTERS_MAX);
  let after = 0;
  const places = list(relocations, `the relocations of ${of}`, RELOCATIONS_MAX, (each): Relocation => {
    const [offset, length, symbol, form] = tuple(each, 4, "a relocation");
    const at = whole(offset, `an offset in ${of}`, after, source.length);
    after = at + whole(length, `a length in ${of}`, 0, source.length - at);
    return {
      offset: at,
      length: after - at,
      symbol: whole(symbol, "a relocation's symbol", 0, SYMBOLS_MAX - 1),
      form: choice(form, RELOCATION_FORMS, "a relocation's form"),
    };
  });
  return { code: source, relocations: places };
}

function signatureOf(value: CborValue | undefined): PatchSignature {
  const [publicKey, signature] = tuple(value, 2, "the signature");
  if (!(publicKey instanceof Uint8Array && publicKey.length === 32)) throw refusal("its public key is none");
  if (!(signature instanceof Uint8Array && signature.length === 64)) throw refusal("its signature is none");
  return { publicKey, signature };
}

function tuple(value: CborValue | undefined, length: number, what: string): CborValue[] {
  if (!Array.isArray(value) || value.length !== length) throw refusal(`${what}: expected ${length} fields`);
  return value;
}

function list<T>(
  value: CborValue | undefined,
  what: string,
  most: number,
  read: (item: CborValue, index: number) => T,
): T[] {
  if (!Array.isArray(value)) throw refusal(`${what}: expected a list`);
  if (value.length > most) throw refusal(`${what}: ${value.length} of them, ${most} are the limit`);
  return value.map((item: CborValue, index) => read(item, index));
}

function text(value: CborValue | undefined, what: string, most = NAME_CHARACTERS_MAX, least = 0): string {
  if (typeof value !== "string") throw refusal(`${what}: expected text`);
  if (value.length < least || value.length > most) {
    throw refusal(`${what}: ${value.length} characters, ${least} to ${most} are allowed`);
  }
  return value;
}

/** Such names become part of a program, so they are nothing but names. */
function identifier(value: CborValue | undefined): string {
  const name = text(value, "a name", NAME_CHARACTERS_MAX, 1);
  if (!/^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u.test(name)) {
    throw refusal(`a name: ${JSON.stringify(name.slice(0, 64))} is no identifier`);
  }
  return name;
}

function whole(value: CborValue | undefined, what: string, least: number, most: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
  throw refusal(`${what}: expected a whole number from ${least} to ${most}`);
}

function flag(value: CborValue | undefined, what: string): boolean {
  if (typeof value !== "boolean") throw refusal(`"${what}": expected a flag`);
  return value;
}

function choice<T>(value: CborValue | undefined, choices: readonly T[], what: string): T {
  return choices[whole(value, what, 0, choices.length - 1)]!;
}

function hash(value: CborValue | undefined, what: string): string {
  if (!(value instanceof Uint8Array && value.length === 32)) throw refusal(`${what}: expected 32 bytes`);
  return toHex(value);
}

function noHash(value: CborValue | undefined, what: string): string {
  if (!(value instanceof Uint8Array && value.length === 0)) {
    throw refusal(`"${what}" is new and has an old hash`);
  }
  return "";
}

function distinct(names: readonly string[], what: string): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) throw refusal(`${what} "${name}" stands there twice`);
    seen.add(name);
  }
}

function refusal(why: string): ImageError {
  return new ImageError("body", 0, `Cannot read patch: ${why}`);
}
