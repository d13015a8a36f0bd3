import { refuse } from "../appliance_error.ts";
import type { Merged, Side } from "./drivers.ts";
import { bothOf, keyed, mergeKeyed } from "./keyed.ts";

/** glibc's `struct cache_file_new` (sysdeps/generic/dl-cache.h), little-endian. */
const MAGIC = "glibc-ld.so.cache1.1";
const HEADER_BYTES = 48;
const AT = { count: 20, stringBytes: 24, flags: 28, extension: 32 } as const;
const ENTRY_BYTES = 24;
const EXTENSION_MAGIC = 0xeaa42174;
const LITTLE_ENDIAN = 2;
/** The most libraries of one cache. */
const LIBRARIES_MAX = 100_000;

/** A library as the loader finds it. */
export interface Library {
  /** What programs ask for: `libssl.so.3`. */
  readonly name: string;
  readonly path: string;
  readonly flags: number;
  readonly osVersion: number;
}

/** What is in a cache. */
export interface LibraryCache {
  readonly libraries: readonly Library[];
  /** Who wrote it, as its extension says; undefined where it has none. */
  readonly generator: Uint8Array | undefined;
}

/**
 * Reads /etc/ld.so.cache, of glibc from 2.2 on, without the formats of before.
 * @throws {ApplianceError} When it is damaged, of a big-endian machine, or has variants for some processors only.
 */
export function readLibraryCache(bytes: Uint8Array): LibraryCache {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES || latin(bytes.subarray(0, MAGIC.length)) !== MAGIC) {
    refuse("format", "Cannot read ld.so.cache: it is none that is known");
  }
  const endian = bytes[AT.flags]! & 3;
  if (endian !== 0 && endian !== LITTLE_ENDIAN) refuse("format", "Cannot read ld.so.cache: it is big-endian");
  const count = view.getUint32(AT.count, true);
  const stringsEnd = HEADER_BYTES + ENTRY_BYTES * count + view.getUint32(AT.stringBytes, true);
  if (count > LIBRARIES_MAX || stringsEnd > bytes.length) damaged();
  const text = (at: number): string => {
    const end = at < HEADER_BYTES ? -1 : bytes.indexOf(0, at);
    if (end < 0 || end >= stringsEnd) return damaged();
    return latin(bytes.subarray(at, end));
  };
  const libraries = Array.from({ length: count }, (_, index) => {
    const at = HEADER_BYTES + ENTRY_BYTES * index;
    if (view.getBigUint64(at + 16, true) !== 0n) {
      refuse("format", "Cannot read ld.so.cache: it has libraries for some processors only");
    }
    return {
      flags: view.getInt32(at, true),
      name: text(view.getUint32(at + 4, true)),
      path: text(view.getUint32(at + 8, true)),
      osVersion: view.getUint32(at + 12, true),
    };
  });
  return { libraries, generator: generatorIn(bytes, view) };
}

function generatorIn(bytes: Uint8Array, view: DataView): Uint8Array | undefined {
  const at = view.getUint32(AT.extension, true);
  if (at === 0) return undefined;
  if (at + 8 > bytes.length || view.getUint32(at, true) !== EXTENSION_MAGIC) return damaged();
  const count = view.getUint32(at + 4, true);
  if (at + 8 + 16 * count > bytes.length) return damaged();
  for (let index = 0; index < count; index++) {
    const section = at + 8 + 16 * index;
    if (view.getUint32(section, true) !== 0) continue; // tag 0 is who wrote it
    const start = view.getUint32(section + 8, true), length = view.getUint32(section + 12, true);
    if (start + length > bytes.length) return damaged();
    return bytes.slice(start, start + length);
  }
  return undefined;
}

function damaged(): never {
  return refuse("format", "Cannot read ld.so.cache: it is damaged");
}

/** A cache of these libraries, in the order that the loader's search needs. */
export function writeLibraryCache({ libraries, generator }: LibraryCache): Uint8Array<ArrayBuffer> {
  const sorted = [...libraries].sort((a, b) =>
    compareLibraries(b.name, a.name) || b.flags - a.flags || (a.path < b.path ? -1 : 1)
  );
  const start = HEADER_BYTES + ENTRY_BYTES * sorted.length;
  const offsets = new Map<string, number>();
  let strings = "";
  const put = (text: string): number => {
    const there = offsets.get(text);
    if (there !== undefined) return there;
    const offset = start + strings.length;
    strings += `${text}\0`;
    offsets.set(text, offset);
    return offset;
  };
  const places = sorted.map(({ name, path }) => {
    const value = put(path);
    // A name that ends its path is found there.
    const key = path.endsWith(`/${name}`) ? value + path.length - name.length : put(name);
    return { key, value };
  });
  const stringsEnd = start + strings.length;
  const extension = (stringsEnd + 3) & ~3;
  const sections = generator === undefined ? 0 : 1;
  const bytes = new Uint8Array(sections === 0 ? stringsEnd : extension + 24 + generator!.length);
  const view = new DataView(bytes.buffer);
  bytes.set(bytesOf(MAGIC));
  view.setUint32(AT.count, sorted.length, true);
  view.setUint32(AT.stringBytes, strings.length, true);
  bytes[AT.flags] = LITTLE_ENDIAN;
  sorted.forEach(({ flags, osVersion }, index) => {
    const at = HEADER_BYTES + ENTRY_BYTES * index;
    view.setInt32(at, flags, true);
    view.setUint32(at + 4, places[index]!.key, true);
    view.setUint32(at + 8, places[index]!.value, true);
    view.setUint32(at + 12, osVersion, true);
  });
  bytes.set(bytesOf(strings), start);
  if (generator === undefined) return bytes;
  view.setUint32(AT.extension, extension, true);
  view.setUint32(extension, EXTENSION_MAGIC, true);
  view.setUint32(extension + 4, 1, true);
  view.setUint32(extension + 16, extension + 24, true);
  view.setUint32(extension + 20, generator.length, true);
  bytes.set(generator, extension + 24);
  return bytes;
}

/** The loader's own order of names (glibc's `_dl_cache_libcmp`): runs of digits by their value. */
export function compareLibraries(left: string, right: string): number {
  let a = 0, b = 0;
  const isDigit = (text: string, at: number): boolean => text[at]! >= "0" && text[at]! <= "9";
  while (a < left.length) {
    if (isDigit(left, a)) {
      if (!isDigit(right, b)) return 1;
      let one = 0, other = 0;
      while (isDigit(left, a)) one = one * 10 + Number(left[a++]);
      while (isDigit(right, b)) other = other * 10 + Number(right[b++]);
      if (one !== other) return one - other;
    } else if (isDigit(right, b)) return -1;
    else if (left[a] !== right[b]) return left.charCodeAt(a) - (right.charCodeAt(b) || 0);
    else {
      a++;
      b++;
    }
  }
  return b < right.length ? -1 : 0;
}

/** The libraries of all sides. */
export function mergeLibraries(base: Uint8Array | undefined, sides: readonly Side[]): Merged {
  const read = (bytes: Uint8Array): Map<string, string> =>
    keyed(readLibraryCache(bytes).libraries.map((library) => JSON.stringify(library)), (entry) => {
      const { name, flags } = JSON.parse(entry) as Library;
      return `${name} ${flags} ${JSON.parse(entry).path}`;
    });
  const { entries, conflicts } = mergeKeyed(
    base === undefined ? new Map() : read(base),
    sides.map(({ name, bytes }) => ({ name, entries: read(bytes) })),
    (key, _, changed) => ({ why: `library ${key}: ${bothOf(changed)} have it differently` }),
  );
  if (conflicts.length > 0) return { conflicts };
  const libraries = [...entries.values()].map((entry) => JSON.parse(entry) as Library);
  return { bytes: writeLibraryCache({ libraries, generator: readLibraryCache(sides[0]!.bytes).generator }) };
}

function latin(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
