import { badWasm, type Section, sectionsOf, WasmReader } from "./binary.ts";

/** A function's type: its parameters' and results' codes. */
export interface WasmType {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

/** Something that a module imports. */
export interface WasmImport {
  readonly module: string;
  readonly name: string;
  readonly kind: "function" | "table" | "memory" | "global";
  /** A function's type as text, a global's as `mut i32`. */
  readonly type: string;
}

/** A function that a module defines. */
export interface WasmFunction {
  /** By its export, or by the module's own table of names; `(3)` of one that has none. */
  readonly name: string;
  readonly typeIndex: number;
  readonly type: string;
  /** Where its body lies, without its length. */
  readonly start: number;
  readonly end: number;
}

/** A module, as far as patching needs to know it. */
export interface WasmModule {
  readonly bytes: Uint8Array;
  readonly sections: readonly Section[];
  readonly types: readonly WasmType[];
  readonly imports: readonly WasmImport[];
  readonly functions: readonly WasmFunction[];
  /** By name. */
  readonly exports: ReadonlyMap<string, { readonly kind: WasmImport["kind"]; readonly index: number }>;
  readonly imported: Readonly<Record<WasmImport["kind"], number>>;
  /** Tables that it defines. */
  readonly tables: number;
  /** Globals that it defines: type, and value when that is a number. */
  readonly globals: readonly {
    readonly type: string;
    readonly value: number | undefined;
    readonly name: string;
  }[];
  /** What a side module needs (tool-conventions, DynamicLinking.md); absent of any other. */
  readonly dylink: Dylink | undefined;
}

/** The memory and table of a side module, alignments as powers of two. */
export interface Dylink {
  readonly memorySize: number;
  readonly memoryAlign: number;
  readonly tableSize: number;
}

const KINDS = ["function", "table", "memory", "global"] as const;
const VALUE_TYPES: Readonly<Record<number, string>> = {
  0x7f: "i32",
  0x7e: "i64",
  0x7d: "f32",
  0x7c: "f64",
  0x7b: "v128",
  0x70: "funcref",
  0x6f: "externref",
};

/** Reads a module. @throws {PatchError} `source`. */
export function readWasm(bytes: Uint8Array): WasmModule {
  const sections = sectionsOf(bytes);
  const reader = (id: number): WasmReader | undefined => {
    const section = sections.find((each) => each.id === id);
    return section && new WasmReader(bytes, section.start, section.end);
  };
  const list = <T>(id: number, read: (from: WasmReader) => T): T[] => {
    const from = reader(id);
    return from === undefined ? [] : Array.from({ length: from.count() }, () => read(from));
  };
  const types = list(1, (from): WasmType => {
    if (from.byte() !== 0x60) throw badWasm("a type is none of a function");
    return { params: [...from.slice(from.count())], results: [...from.slice(from.count())] };
  });
  const typeAt = (index: number): string => {
    const type = types[index];
    if (type === undefined) throw badWasm(`there is no type ${index}`);
    return typeText(type);
  };
  const imports = list(2, (from): WasmImport => {
    const [module, name] = [from.name(), from.name()];
    const kind = kindAt(from.byte());
    const type = kind === "function" ? typeAt(from.u32()) : kind === "global" ? globalType(from) : (() => {
      if (kind === "table") from.byte();
      limits(from);
      return kind;
    })();
    return { module, name, kind, type };
  });
  const imported = { function: 0, table: 0, memory: 0, global: 0 };
  for (const { kind } of imports) imported[kind]++;
  const typeIndexes = list(3, (from) => from.u32());
  const tables = reader(4)?.count() ?? 0;
  const globals = list(6, (from) => {
    const type = globalType(from);
    let value: number | undefined;
    const code = from.byte();
    if (code === 0x41) value = from.signed();
    else if (code === 0x42) from.signed();
    else if (code === 0x43) from.slice(4);
    else if (code === 0x44) from.slice(8);
    else if (code === 0x23 || code === 0xd2) from.u32();
    else if (code === 0xd0) from.byte();
    else throw badWasm("a global's value is computed");
    if (from.byte() !== 0x0b) throw badWasm("a global's value is computed");
    return { type, value };
  });
  const exports = new Map(list(7, (from) => {
    const name = from.name();
    const kind = kindAt(from.byte());
    return [name, { kind, index: from.u32() }] as const;
  }));
  const bodies = list(10, (from) => {
    const length = from.u32();
    from.slice(length);
    return { start: from.at - length, end: from.at };
  });
  if (bodies.length !== typeIndexes.length) throw badWasm("functions and their bodies differ in number");
  const named = namesIn(bytes, sections);
  const names = functionNames(named.get(1) ?? new Map(), exports, imported.function, bodies.length);
  return {
    ...{ bytes, sections, types, imports, imported, tables, exports },
    functions: bodies.map((body, index) => ({
      name: names[index]!,
      typeIndex: typeIndexes[index]!,
      type: typeAt(typeIndexes[index]!),
      ...body,
    })),
    globals: globals.map((each, index) => ({
      ...each,
      name: named.get(7)?.get(imported.global + index) ?? "",
    })),
    dylink: dylinkOf(bytes, sections),
  };
}

/** `(i32, i64) -> f32`. */
function typeText({ params, results }: WasmType): string {
  const text = (codes: readonly number[]): string => codes.map((code) => valueType(code)).join(", ");
  return `(${text(params)}) -> ${results.length === 1 ? text(results) : `(${text(results)})`}`;
}

function valueType(code: number): string {
  const type = VALUE_TYPES[code];
  if (type === undefined) throw badWasm(`value type ${code} is not known`);
  return type;
}

function globalType(from: WasmReader): string {
  const type = valueType(from.byte());
  return from.byte() === 1 ? `mut ${type}` : type;
}

function limits(from: WasmReader): void {
  const flags = from.byte();
  from.u32();
  if (flags & 1) from.u32();
}

function kindAt(code: number): WasmImport["kind"] {
  const kind = KINDS[code];
  if (kind === undefined) throw badWasm(`kind ${code} of an import or export is not known`);
  return kind;
}

/** The name of each function: exports first, as patches say those. */
function functionNames(
  named: ReadonlyMap<number, string>,
  exports: WasmModule["exports"],
  imported: number,
  count: number,
): string[] {
  const names: (string | undefined)[] = new Array<undefined>(count).fill(undefined);
  for (const [name, { kind, index }] of exports) if (kind === "function") names[index - imported] ??= name;
  const taken = new Set(names);
  return Array.from(names, (name, index) => {
    const own = named.get(imported + index);
    const free = own !== undefined && !taken.has(own) ? own : `(${index})`;
    if (name === undefined) taken.add(free);
    return name ?? free;
  });
}

/** The subsections of the custom section "name": of functions 1, of globals 7. */
function namesIn(bytes: Uint8Array, sections: readonly Section[]): Map<number, Map<number, string>> {
  const found = new Map<number, Map<number, string>>();
  const section = sections.find(({ id, name }) => id === 0 && name === "name");
  if (section === undefined) return found;
  const reader = new WasmReader(bytes, section.start, section.end);
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const length = reader.u32();
    const inner = new WasmReader(bytes, reader.at, reader.at + length);
    reader.slice(length);
    if (id !== 1 && id !== 7) continue;
    found.set(id, new Map(Array.from({ length: inner.count() }, () => [inner.u32(), inner.name()] as const)));
  }
  return found;
}

function dylinkOf(bytes: Uint8Array, sections: readonly Section[]): Dylink | undefined {
  const section = sections.find(({ id, name }) => id === 0 && name === "dylink.0");
  if (section === undefined) return undefined;
  const reader = new WasmReader(bytes, section.start, section.end);
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const length = reader.u32();
    const inner = new WasmReader(bytes, reader.at, reader.at + length);
    reader.slice(length);
    if (id !== 1) continue; // WASM_DYLINK_MEM_INFO
    const [memorySize, memoryAlign, tableSize] = [inner.u32(), inner.u32(), inner.u32()];
    return { memorySize, memoryAlign, tableSize };
  }
  return undefined;
}
