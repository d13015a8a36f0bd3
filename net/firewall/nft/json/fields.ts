import type { Source } from "../read/raw.ts";
import { show } from "../read/value.ts";
import { DEPTH_MAX } from "../words/limits.ts";

/** The fields of a JSON object; those that nobody takes are refused by `end`. */
export class Fields {
  readonly source: Source;
  readonly path: string;
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #taken: Set<string> = new Set();

  constructor(source: Source, value: unknown, path: string) {
    this.source = source;
    this.path = path;
    this.#values = objectOf(source, value, path);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#values, name) && this.#values[name] !== undefined;
  }

  at(name: string): string {
    return `${this.path}.${name}`;
  }

  take(name: string): unknown {
    this.#taken.add(name);
    return Object.hasOwn(this.#values, name) ? this.#values[name] : undefined;
  }

  string(name: string): string {
    return this.optionalString(name) ?? this.source.fail(this.at(name), "Missing, expected a string");
  }

  optionalString(name: string): string | undefined {
    const value = this.take(name);
    if (value === undefined || typeof value === "string") return value;
    return this.source.fail(this.at(name), `Found ${show(value)}, expected a string`);
  }

  number(name: string, max = Number.MAX_SAFE_INTEGER, min = 0): number {
    return this.optionalNumber(name, max, min) ??
      this.source.fail(this.at(name), "Missing, expected a number");
  }

  optionalNumber(name: string, max = Number.MAX_SAFE_INTEGER, min = 0): number | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max) {
      return value;
    }
    return this.source.fail(
      this.at(name),
      `Found ${show(value)}, expected a whole number from ${min} to ${max}`,
    );
  }

  boolean(name: string): boolean {
    const value = this.take(name);
    if (value === undefined || typeof value === "boolean") return value ?? false;
    return this.source.fail(this.at(name), `Found ${show(value)}, expected true or false`);
  }

  /** One word of `among`, or several in an array. */
  words<T extends string>(name: string, among: readonly T[]): T[] {
    const value = this.take(name);
    if (value === undefined) return [];
    const list = Array.isArray(value) ? value : [value];
    return list.map((word, index) => {
      if (among.includes(word)) return word as T;
      const at = Array.isArray(value) ? `${this.at(name)}[${index}]` : this.at(name);
      return this.source.fail(at, `Found ${show(word)}, expected one of ${among.join(", ")}`);
    });
  }

  optionalWord<T extends string>(name: string, among: readonly T[]): T | undefined {
    const value = this.optionalString(name);
    if (value === undefined || among.includes(value as T)) return value as T | undefined;
    return this.source.fail(this.at(name), `Found ${show(value)}, expected one of ${among.join(", ")}`);
  }

  word<T extends string>(name: string, among: readonly T[]): T {
    return this.optionalWord(name, among) ??
      this.source.fail(this.at(name), `Missing, expected one of ${among.join(", ")}`);
  }

  /** Refuses what was not taken. */
  end(): void {
    for (const name of Object.keys(this.#values)) {
      if (!this.#taken.has(name)) this.source.fail(this.at(name), "Unknown or not supported");
    }
  }
}

function objectOf(source: Source, value: unknown, path: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  return source.fail(path, `Found ${show(value)}, expected an object`);
}

/** The one field of an object like `{ "match": ... }`. */
export function single(
  source: Source,
  value: unknown,
  path: string,
): [name: string, value: unknown, path: string] {
  const object = objectOf(source, value, path);
  const names = Object.keys(object);
  if (names.length !== 1) {
    source.fail(path, `Found an object of ${names.length} fields, expected one that says what it is`);
  }
  return [names[0]!, object[names[0]!], `${path}.${names[0]!}`];
}

export function arrayOf(source: Source, value: unknown, path: string): readonly unknown[] {
  return Array.isArray(value) ? value : source.fail(path, `Found ${show(value)}, expected an array`);
}

export function checkDepth(source: Source, depth: number, path: string): void {
  if (depth > DEPTH_MAX) source.fail(path, `More than ${DEPTH_MAX} expressions inside one another`);
}
