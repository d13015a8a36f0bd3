/**
 * As much of Protocol Buffers' wire format (proto2) as CRIU's messages of sockets need: scalars, strings, messages,
 * and repeated ones of these. Fields that a message does not name are skipped, as the format has it.
 * @module
 */

/** What a field holds. Enums are `uint32`. */
export type FieldType = "uint32" | "uint64" | "bool" | "string" | "fixed64" | Message;

/** A field of a message. */
export interface MessageField {
  readonly number: number;
  readonly type: FieldType;
  readonly label: "required" | "optional" | "repeated";
}

/** A message: its fields by name. */
export interface Message {
  readonly name: string;
  readonly fields: Readonly<Record<string, MessageField>>;
}

/** A message's content, by field name. */
export interface Content {
  [field: string]: number | boolean | string | Content | (number | Content | string | boolean)[] | undefined;
}

/** Bytes that are no such message. */
export class ProtobufError extends Error {
  override name = "ProtobufError";
}

const Wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** A field's type and label, as in `.proto` files. */
export function field(
  label: MessageField["label"],
  type: FieldType,
  number: number,
): MessageField {
  return { label, type, number };
}

/**
 * Encodes a message, fields in the order of their numbers.
 * @throws {ProtobufError} When a required field is missing.
 */
export function encodeMessage(message: Message, content: Content): Uint8Array<ArrayBuffer> {
  const out: number[] = [];
  const fields = Object.entries(message.fields).sort(([, a], [, b]) => a.number - b.number);
  for (const [name, { number, type, label }] of fields) {
    const value = content[name];
    if (value === undefined) {
      if (label === "required") throw new ProtobufError(`Cannot write ${message.name}: "${name}" is missing`);
      continue;
    }
    for (const each of label === "repeated" ? value as unknown[] : [value]) putField(out, number, type, each);
  }
  return Uint8Array.from(out);
}

function putField(out: number[], number: number, type: FieldType, value: unknown): void {
  if (type === "fixed64") {
    putVarint(out, number * 8 + Wire.fixed64);
    for (let byte = 0, rest = value as number; byte < 8; byte++, rest = Math.floor(rest / 256)) {
      out.push(rest % 256);
    }
  } else if (type === "string" || typeof type === "object") {
    const bytes = type === "string"
      ? new TextEncoder().encode(value as string)
      : encodeMessage(type, value as Content);
    putVarint(out, number * 8 + Wire.bytes);
    putVarint(out, bytes.length);
    for (const byte of bytes) out.push(byte);
  } else {
    putVarint(out, number * 8 + Wire.varint);
    putVarint(out, Number(value));
  }
}

function putVarint(out: number[], value: number): void {
  for (; value >= 128; value = Math.floor(value / 128)) out.push(value % 128 + 128);
  out.push(value);
}

/**
 * Decodes a message.
 * @throws {ProtobufError} Naming the byte: it is cut short, a field has another type, or a required one is missing.
 */
export function decodeMessage(message: Message, bytes: Uint8Array): Content {
  const byNumber = new Map(
    Object.entries(message.fields).map(([name, each]) => [each.number, { name, ...each }]),
  );
  const content: Content = {};
  const reader = new Reader(message.name, bytes);
  while (reader.at < bytes.length) {
    const key = reader.varint();
    const wire = key % 8;
    const known = byNumber.get(Math.floor(key / 8));
    if (known === undefined) {
      reader.skip(wire);
      continue;
    }
    const { name, type, label } = known;
    const values = reader.values(type, wire, label === "repeated", name);
    if (label === "repeated") content[name] = [...(content[name] as [] ?? []), ...values as []];
    else content[name] = values[0] as number;
  }
  for (const [name, { label }] of Object.entries(message.fields)) {
    if (label === "required" && content[name] === undefined) {
      throw new ProtobufError(`Cannot read ${message.name}: "${name}" is missing`);
    }
  }
  return content;
}

class Reader {
  at = 0;
  readonly #name: string;
  readonly #bytes: Uint8Array;

  constructor(name: string, bytes: Uint8Array) {
    this.#name = name;
    this.#bytes = bytes;
  }

  /** Beyond 2^53 the lowest bits are lost, which no field that we use has. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.at];
      if (byte === undefined) this.#refuse("it is cut short");
      this.at++;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    this.#refuse("a number does not end");
  }

  take(length: number): Uint8Array {
    if (this.at + length > this.#bytes.length) this.#refuse("it is cut short");
    return this.#bytes.subarray(this.at, this.at += length);
  }

  skip(wire: number): void {
    if (wire === Wire.varint) this.varint();
    else if (wire === Wire.fixed64) this.take(8);
    else if (wire === Wire.bytes) this.take(this.varint());
    else if (wire === Wire.fixed32) this.take(4);
    else this.#refuse(`wire type ${wire} is not known`);
  }

  /** The value of one field; several, when numbers are packed. */
  values(type: FieldType, wire: number, repeated: boolean, name: string): unknown[] {
    const isBytes = type === "string" || typeof type === "object";
    const need = isBytes ? Wire.bytes : type === "fixed64" ? Wire.fixed64 : Wire.varint;
    if (wire === Wire.bytes && !isBytes && repeated) {
      const packed = new Reader(this.#name, this.take(this.varint()));
      const found: unknown[] = [];
      while (packed.at < packed.#bytes.length) found.push(...packed.values(type, need, false, name));
      return found;
    }
    if (wire !== need) this.#refuse(`field "${name}" has wire type ${wire}, need ${need}`);
    if (type === "fixed64") {
      const bytes = this.take(8);
      return [bytes.reduceRight((value, byte) => value * 256 + byte, 0)];
    }
    if (isBytes) {
      const bytes = this.take(this.varint());
      return [type === "string" ? new TextDecoder().decode(bytes) : decodeMessage(type as Message, bytes)];
    }
    const value = this.varint();
    return [type === "bool" ? value !== 0 : type === "uint32" ? value % 2 ** 32 : value];
  }

  #refuse(why: string): never {
    throw new ProtobufError(`Cannot read ${this.#name}: byte ${this.at}: ${why}`);
  }
}
