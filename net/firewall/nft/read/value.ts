import { formatIpv4, maskOf, parseIpv4 } from "../../../wire/address.ts";
import { formatIpv6, maskedWords, parseIpv6 } from "../../../wire/ipv6_address.ts";
import type { DataType, Immediate } from "../schema.ts";
import { DATA_TYPES } from "../words/datatypes.ts";
import { INTERFACE_CHARACTERS_MAX } from "../words/limits.ts";
import type { ValueType } from "../words/selectors.ts";
import { readClassid, readDate, readDuration, readHour } from "../words/times.ts";
import type { At, Raw, Source } from "./raw.ts";

/** A literal of a type. */
export function readValue(source: Source, raw: Raw, type: ValueType): Immediate {
  const { base } = DATA_TYPES[type.type];
  if (raw.kind === "boolean") {
    if (type.type === "boolean" || type.presence === true) return raw.value;
    if (type.bits === 1) return raw.value ? 1 : 0;
    return wrong(source, raw.at, type.type, raw.value);
  }
  if (raw.kind === "number") {
    if (type.type === "boolean" && raw.value <= 1) return raw.value === 1;
    if (base === "number" || type.type === "iface_index") return inBits(source, raw.at, raw.value, type);
    // A name may consist of digits; an address may not.
    return base === "text"
      ? readText(source, raw.at, String(raw.value), type)
      : wrong(source, raw.at, type.type, raw.value);
  }
  if (raw.kind !== "word") return source.fail(raw.at, `Expected ${describe(type.type)}`);
  const text = raw.text;
  if (base === "text") return readText(source, raw.at, text, type);
  if (base === "ipv4") {
    const address = text === "localhost" ? 0x7f000001 : parseIpv4(text);
    return address === undefined ? wrong(source, raw.at, type.type, text) : formatIpv4(address);
  }
  if (base === "ipv6") {
    const words = parseIpv6(text);
    return words === undefined ? wrong(source, raw.at, type.type, text) : formatIpv6(...words);
  }
  if (type.type === "boolean") {
    return text === "exists" || text === "missing"
      ? text === "exists"
      : wrong(source, raw.at, type.type, text);
  }
  const value = numberOf(text, type.type);
  return value === undefined ? wrong(source, raw.at, type.type, text) : inBits(source, raw.at, value, type);
}

function numberOf(text: string, type: DataType): number | undefined {
  const symbols = DATA_TYPES[type].symbols;
  if (symbols !== undefined && Object.hasOwn(symbols, text)) return symbols[text];
  if (/^(0x[\da-f]{1,14}|\d{1,16})$/i.test(text)) return Number(text);
  if (type === "day") {
    const day = Object.keys(symbols!).find((name) => name.toLowerCase() === text.toLowerCase());
    return day === undefined ? undefined : symbols![day];
  }
  if (type === "time") return readDuration(text);
  if (type === "classid") return readClassid(text);
  if (type === "hour") return readHour(text);
  if (type === "date") return readDate(text);
  return undefined;
}

function readText(source: Source, at: At, text: string, { type, presence }: ValueType): Immediate {
  if (presence === true && (text === "exists" || text === "missing")) return text === "exists";
  if (type === "iface_index" && /^\d{1,9}$/.test(text)) return Number(text);
  if (type === "string") {
    return text.length > 0 && text.length <= 15 ? text : wrong(source, at, type, text);
  }
  if (text === "" || text.length > INTERFACE_CHARACTERS_MAX || /[\s/"\\]|\*./.test(text)) {
    return wrong(source, at, type, text);
  }
  if (type === "iface_index" && text.endsWith("*")) {
    source.fail(at, `"${text}" names many interfaces, which have many indices: use iifname or oifname`);
  }
  return text.startsWith("@") ? wrong(source, at, type, text) : text;
}

function inBits(source: Source, at: At, value: number, type: ValueType): number {
  const bits = Math.min(type.bits, 53);
  if (Number.isSafeInteger(value) && value >= 0 && value < 2 ** bits) return value;
  return source.fail(at, `${value} is out of range: expected 0 to ${2 ** bits - 1}`);
}

function wrong(source: Source, at: At, type: DataType, value: unknown): never {
  return source.fail(at, `Found ${show(value)}, expected ${describe(type)}`);
}

/** A value in a message. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function describe(type: DataType): string {
  const { base, symbols } = DATA_TYPES[type];
  if (base === "ipv4") return 'an IPv4 address like "10.0.0.1"';
  if (base === "ipv6") return 'an IPv6 address like "2001:db8::1"';
  if (type === "ifname" || type === "iface_index") return 'the name of an interface like "eth0"';
  if (type === "string") return "a name of at most 15 characters";
  if (type === "boolean") return "exists or missing";
  if (type === "hour") return 'a time of day like "17:30"';
  if (type === "date") return 'a date like "2026-11-29 17:30:00"';
  const words = symbols === undefined ? [] : Object.keys(symbols);
  return words.length === 0
    ? "a number"
    : `a number or a word like ${words.slice(0, 4).map((word) => `"${word}"`).join(", ")} (${type})`;
}

/** The address without the bits beyond `length`, or undefined when that is no length of such an address. */
export function maskAddress(address: string, length: number, bits: number): string | undefined {
  if (!Number.isInteger(length) || length < 0 || length > bits) return undefined;
  if (bits === 32) return formatIpv4(parseIpv4(address)! & maskOf(length));
  return formatIpv6(...maskedWords(parseIpv6(address)!, length));
}
