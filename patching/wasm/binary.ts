import { PatchError } from "../patch_error.ts";

/** A section of a WebAssembly module; `id` 0 is a custom one, whose `start` is behind its name. */
export interface Section {
  readonly id: number;
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Reads a WebAssembly module's bytes, from one place to the next. Whatever is not there is a `PatchError`. */
export class WasmReader {
  readonly bytes: Uint8Array;
  at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#end;
  }

  byte(): number {
    if (this.at >= this.#end) throw badWasm(`it ends at byte ${this.at}`);
    return this.bytes[this.at++]!;
  }

  /** An unsigned number of at most 32 bits (LEB128). */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80 && value < 2 ** 32) return value;
    }
    throw badWasm(`a number at byte ${this.at} is too long`);
  }

  /** Passes over a signed number. */
  signed(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return byte & 0x40 ? value - 2 ** (shift + 7) : value;
    }
    throw badWasm(`a number at byte ${this.at} is too long`);
  }

  /** The number of items that follow; each has a byte at least. */
  count(): number {
    const count = this.u32();
    if (count > this.#end - this.at) throw badWasm(`a list of ${count} items at byte ${this.at}`);
    return count;
  }

  slice(length: number): Uint8Array {
    if (length > this.#end - this.at) throw badWasm(`it ends within ${length} bytes at byte ${this.at}`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  name(): string {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(this.slice(this.u32()));
    } catch (cause) {
      if (cause instanceof PatchError) throw cause;
      throw badWasm(`a name before byte ${this.at} is no UTF-8`);
    }
  }
}

/** The sections of a module, in their order. @throws {PatchError} `source`. */
export function sectionsOf(bytes: Uint8Array): Section[] {
  const magic = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  if (magic.some((byte, at) => bytes[at] !== byte)) throw badWasm("it is no WebAssembly of version 1");
  const reader = new WasmReader(bytes, magic.length);
  const sections: Section[] = [];
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const length = reader.u32();
    const end = reader.at + length;
    reader.slice(length);
    const inner = new WasmReader(bytes, end - length, end);
    const name = id === 0 ? inner.name() : "";
    sections.push({ id, name, start: inner.at, end });
  }
  return sections;
}

/** A module that cannot be read. */
export function badWasm(why: string): PatchError {
  return new PatchError("source", `Cannot read the WebAssembly module: ${why}`);
}

/** An unsigned number in LEB128. */
export function leb(value: number): number[] {
  const bytes: number[] = [];
  do {
    const low = value % 128;
    value = (value - low) / 128;
    bytes.push(value > 0 ? low | 0x80 : low);
  } while (value > 0);
  return bytes;
}

/** A signed number in LEB128. */
export function signedLeb(value: number): number[] {
  const bytes: number[] = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    const isLast = (value === 0 && !(low & 0x40)) || (value === -1 && (low & 0x40) !== 0);
    bytes.push(isLast ? low : low | 0x80);
    if (isLast) return bytes;
  }
}

/** A name, its length before it. */
export function nameBytes(name: string): number[] {
  const bytes = new TextEncoder().encode(name);
  return [...leb(bytes.length), ...bytes];
}
