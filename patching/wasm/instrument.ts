import { leb, nameBytes, signedLeb, WasmReader } from "./binary.ts";
import type { WasmModule } from "./module.ts";

/** Exports that a patchable module has for whoever patches it begin so. */
export const WASM_PREFIX = "torpor:";

/**
 * Makes a module patchable: every function that it defines is called through a table of slots. Each keeps its number, and
 * with it all who call it, export it or point to it; what it did is a function of its own now, in the slot. The memory, the
 * table, globals and functions get exports, so that patches can be bound to them.
 */
export function instrumentWasm(module: WasmModule): Uint8Array<ArrayBuffer> {
  const { bytes, sections, functions, imported, types } = module;
  const slots = imported.table + module.tables;
  const count = functions.length;
  const out: number[][] = [[...bytes.subarray(0, 8)]];
  const section = (id: number, content: readonly number[]): void => {
    out.push([id, ...leb(content.length)], [...content]);
  };
  const contentOf = (id: number): { items: number; rest: number[] } => {
    const found = sections.find((each) => each.id === id);
    if (found === undefined) return { items: 0, rest: [] };
    const reader = new WasmReader(bytes, found.start, found.end);
    const items = reader.u32();
    return { items, rest: [...bytes.subarray(reader.at, found.end)] };
  };
  const functionTypes = functions.flatMap(({ typeIndex }) => leb(typeIndex));
  const made: Record<number, () => readonly number[]> = {
    3: () => [...leb(2 * count), ...functionTypes, ...functionTypes],
    4: () => {
      // Without a maximum: patches need places for their functions.
      const tables = growable(contentOf(4).rest, module.tables);
      return [...leb(module.tables + 1), ...tables, 0x70, 0x00, ...leb(count)];
    },
    7: () => {
      const { items, rest } = contentOf(7);
      const more = exportsFor(module, slots);
      return [...leb(items + more.length), ...rest, ...more.flat()];
    },
    9: () => {
      const { items, rest } = contentOf(9);
      const originals = functions.flatMap((_, index) => leb(imported.function + count + index));
      return [...leb(items + 1), ...rest, 2, ...leb(slots), 0x41, 0, 0x0b, 0, ...leb(count), ...originals];
    },
    10: () => {
      const { rest } = contentOf(10);
      const through = functions.map(({ typeIndex }, slot) => {
        const params = types[typeIndex]!.params.flatMap((_, index) => [0x20, ...leb(index)]);
        const body = [0, ...params, 0x41, ...signedLeb(slot), 0x11, ...leb(typeIndex), ...leb(slots), 0x0b];
        return [...leb(body.length), ...body];
      });
      return [...leb(2 * count), ...through.flat(), ...rest];
    },
  };
  // The order of sections, in which 12 stands before 10; custom ones stay behind what they followed.
  const order = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];
  for (const id of order) {
    const found = sections.find((each) => each.id === id);
    if (count > 0 && made[id] !== undefined) section(id, made[id]());
    else if (found !== undefined) section(id, [...bytes.subarray(found.start, found.end)]);
  }
  return Uint8Array.from(out.flat());
}

/** Tables as they are, without their maximum. */
function growable(content: readonly number[], count: number): number[] {
  const reader = new WasmReader(Uint8Array.from(content));
  return Array.from({ length: count }, () => {
    const type = reader.byte();
    const flags = reader.byte();
    const least = reader.u32();
    if (flags & 1) reader.u32();
    return [type, flags & ~1, ...leb(least)];
  }).flat();
}

function exportsFor(
  { functions, globals, imported, tables, sections, imports }: WasmModule,
  slots: number,
): number[][] {
  const one = (name: string, kind: number, index: number): number[] => [
    ...nameBytes(WASM_PREFIX + name),
    kind,
    ...leb(index),
  ];
  const hasMemory = sections.some(({ id }) => id === 5) || imports.some(({ kind }) => kind === "memory");
  return [
    one("slots", 1, slots),
    ...(imported.table + tables > 0 ? [one("table", 1, 0)] : []),
    ...(hasMemory ? [one("memory", 2, 0)] : []),
    ...functions.map((_, index) => one(`f${index}`, 0, imported.function + index)),
    ...globals.map((_, index) => one(`g${index}`, 3, imported.global + index)),
  ];
}
