import { parseIpv4 } from "../../net/wire/address.ts";
import { parseIpv6 } from "../../net/wire/ipv6_address.ts";
import type { Expression } from "../../net/firewall/nft/schema.ts";

/** From and to, both included. */
export type Span = readonly [bigint, bigint];

/** A drawn value that is no prefix, unless those are welcome. */
export function plain(draw: () => Expression, prefixes: boolean): Expression {
  for (;;) {
    const drawn = draw();
    if (prefixes || typeof drawn !== "object") return drawn;
  }
}

export function spanOf(value: Expression): Span {
  if (typeof value === "number" || typeof value === "boolean") {
    return [BigInt(Number(value)), BigInt(Number(value))];
  }
  if (typeof value === "string") {
    const at = value.endsWith("*") ? undefined : addressValue(value);
    if (at !== undefined) return [at, at];
    const low = [...value.replace("*", "")].reduce((sum, char, index) => {
      return sum | (BigInt(char.charCodeAt(0)) << BigInt(8 * (15 - index)));
    }, 0n);
    return [low, value.endsWith("*") ? low | ((1n << BigInt(8 * (17 - value.length))) - 1n) : low];
  }
  if ("range" in value) return [spanOf(value.range[0])[0], spanOf(value.range[1])[1]];
  if ("prefix" in value) {
    const low = addressValue(`${value.prefix.addr}`)!;
    const bits = `${value.prefix.addr}`.includes(":") ? 128 : 32;
    return [low, low | ((1n << BigInt(bits - value.prefix.len)) - 1n)];
  }
  throw new Error(`No span of ${JSON.stringify(value)}`);
}

export function overlaps(a: Span, b: Span): boolean {
  return a[0] <= b[1] && b[0] <= a[1];
}

function addressValue(text: string): bigint | undefined {
  if (text.includes(":")) {
    const words = parseIpv6(text);
    return words?.reduce((sum, word) => (sum << 32n) | BigInt(word >>> 0), 0n);
  }
  const address = parseIpv4(text);
  return address === undefined ? undefined : BigInt(address >>> 0);
}
