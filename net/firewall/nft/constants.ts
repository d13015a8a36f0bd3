import { parseIpv4 } from "../../wire/address.ts";
import { type Ipv6Words, parseIpv6 } from "../../wire/ipv6_address.ts";
import { parseMac } from "../../wire/mac.ts";
import type { DataType, Expression } from "./schema.ts";

/** From and to, both included: one value has them equal. */
export type Bounds = readonly [low: bigint, high: bigint];

/** Characters of an interface's name, the kernel's IFNAMSIZ without its end. */
const NAME_CHARACTERS_MAX = 15;
const NAME_BYTES = 16;
/** In a second: the kernel's time is compared with the beginning of one. */
const NANOSECONDS = 1_000_000_000n;

export function wordsValue(words: Ipv6Words): bigint {
  return words.reduce((sum, word) => (sum << 32n) | BigInt(word >>> 0), 0n);
}

/** A name as the kernel compares it: 16 bytes, what is behind its end is zero. Undefined when it is too long. */
export function nameValue(name: string): bigint | undefined {
  return nameBytes(name)?.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function nameBytes(name: string): number[] | undefined {
  const bytes = Array.from({ length: NAME_BYTES }, () => 0);
  if (name.length > NAME_CHARACTERS_MAX) return undefined;
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (code === 0 || code > 0x7f) return undefined;
    bytes[at] = code;
  }
  return bytes;
}

/** All names that begin so. */
function namePrefix(prefix: string): Bounds | undefined {
  const low = nameValue(prefix);
  if (low === undefined) return undefined;
  return [low, low | ((1n << BigInt(8 * (NAME_BYTES - prefix.length))) - 1n)];
}

/**
 * The values that a constant beside a value of `type` stands for.
 * @returns A string that says what is wrong with it instead.
 */
export function boundsOf(
  expression: Expression,
  type: DataType,
  bits: number,
  interfaces: readonly string[],
): Bounds | string {
  if (typeof expression === "number" || typeof expression === "boolean") {
    const value = BigInt(Number(expression)) * (type === "date" ? NANOSECONDS : 1n);
    return value >> BigInt(bits) === 0n ? [value, value] : `${expression} does not fit into ${bits} bits`;
  }
  if (typeof expression === "string") return namedBounds(expression, type, interfaces);
  if ("range" in expression) {
    const low = boundsOf(expression.range[0], type, bits, interfaces);
    const high = boundsOf(expression.range[1], type, bits, interfaces);
    if (typeof low === "string") return low;
    if (typeof high === "string") return high;
    return low[0] <= high[1] ? [low[0], high[1]] : "Found a range that ends before it begins";
  }
  if ("prefix" in expression) {
    const { addr, len } = expression.prefix;
    const whole = boundsOf(addr, type, bits, interfaces);
    if (typeof whole === "string") return whole;
    if (len > bits) return `Found a prefix of ${len} bits, expected at most ${bits}`;
    const below = (1n << BigInt(bits - len)) - 1n;
    const low = whole[0] & ~below;
    return [low, low | below];
  }
  return `Found ${JSON.stringify(expression)}, expected a constant`;
}

function namedBounds(text: string, type: DataType, interfaces: readonly string[]): Bounds | string {
  switch (type) {
    case "ipv4_addr": {
      const address = parseIpv4(text);
      if (address === undefined) return `Found ${JSON.stringify(text)}, expected an IPv4 address`;
      const value = BigInt(address >>> 0);
      return [value, value];
    }
    case "ipv6_addr": {
      const words = parseIpv6(text);
      if (words === undefined) return `Found ${JSON.stringify(text)}, expected an IPv6 address`;
      const value = wordsValue(words);
      return [value, value];
    }
    case "ether_addr": {
      const mac = parseMac(text);
      if (mac === undefined) return `Found ${JSON.stringify(text)}, expected a hardware address`;
      const value = (BigInt(mac.hi) << 32n) | BigInt(mac.lo >>> 0);
      return [value, value];
    }
    case "ifname": {
      const value = nameValue(text);
      const bounds = text.endsWith("\\*")
        ? undefined
        : text.endsWith("*")
        ? namePrefix(text.slice(0, -1))
        : value === undefined
        ? undefined
        : [value, value] as const;
      return bounds ?? `Found ${JSON.stringify(text)}, expected the name of an interface`;
    }
    case "iface_index": {
      const index = interfaces.indexOf(text);
      if (index < 0) return `Interface ${JSON.stringify(text)} does not exist`;
      return [BigInt(index + 1), BigInt(index + 1)];
    }
    default:
      return `Found ${JSON.stringify(text)}, expected a number`;
  }
}
