import { formatIpv4, parseIpv4 } from "./address.ts";

/** An IPv6 address as four signed 32-bit integers, the first 32 bits first. */
export type Ipv6Words = readonly [number, number, number, number];

/** A network: the bits of `words` beyond `prefixLength` may be set, as in an interface's address. */
export interface Ipv6Prefix {
  words: Ipv6Words;
  /** 0 to 128. */
  prefixLength: number;
}

const GROUP = /^[\da-f]{1,4}$/i;

/**
 * The address that `text` names (RFC 4291 section 2.2), without brackets and zone; else `undefined`.
 *
 * @example
 * ```ts
 * import { formatIpv6, parseIpv6 } from "@torpor/torpor/net/wire/ipv6_address.ts";
 * console.log(formatIpv6(...parseIpv6("2001:DB8:0:0::0001")!)); // 2001:db8::1
 * ```
 */
export function parseIpv6(text: string): Ipv6Words | undefined {
  if (text.length > 45) return undefined; // the longest is ffff:...:255.255.255.255
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1]!, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const word = (at: number): number => (groups[at]! << 16) | groups[at + 1]!;
  return [word(0), word(2), word(4), word(6)];
}

/** The 16-bit groups between colons; the last may be a dotted quad when it ends the address. */
function groupsOf(text: string, ends: boolean): number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const groups: number[] = [];
  for (const [at, part] of parts.entries()) {
    if (GROUP.test(part)) {
      groups.push(parseInt(part, 16));
      continue;
    }
    const quad = ends && at === parts.length - 1 ? parseIpv4(part) : undefined;
    if (quad === undefined) return undefined;
    groups.push(quad >>> 16, quad & 0xffff);
  }
  return groups;
}

/** The address in its one canonical form (RFC 5952): `::ffff:10.0.0.1` for an IPv4-mapped one. */
export function formatIpv6(a: number, b: number, c: number, d: number): string {
  if (a === 0 && b === 0 && c === 0xffff) return `::ffff:${formatIpv4(d)}`;
  // Of each connection that wakes: a closure, or a list for each piece, takes longer than all of this.
  const groups = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff, c >>> 16, c & 0xffff, d >>> 16, d & 0xffff];
  let start = -1;
  let longest = 1; // one group alone is not shortened (section 4.2.2)
  for (let at = 0; at < 8;) {
    let end = at;
    while (end < 8 && groups[end] === 0) end++;
    if (end - at > longest) {
      longest = end - at;
      start = at;
    }
    at = end + 1;
  }
  let text = "";
  for (let at = 0; at < 8; at++) {
    if (at === start) {
      text += at === 0 ? "::" : ":";
      at += longest - 1;
    } else {
      text += groups[at]!.toString(16);
      if (at < 7) text += ":";
    }
  }
  return text;
}

/** The prefix that `text` names, as in `2001:db8::/32`; a bare address is its own /128. Else `undefined`. */
export function parseIpv6Prefix(text: string): Ipv6Prefix | undefined {
  const slash = text.indexOf("/");
  const words = parseIpv6(slash < 0 ? text : text.slice(0, slash));
  if (words === undefined) return undefined;
  if (slash < 0) return { words, prefixLength: 128 };
  const digits = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(digits) || Number(digits) > 128) return undefined;
  return { words, prefixLength: Number(digits) };
}

/** Word `at` (0 to 3) of the mask with the first `prefixLength` bits set. */
export function maskWordOf(prefixLength: number, at: number): number {
  const bits = prefixLength - 32 * at;
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

/** The words without the bits beyond `prefixLength`. */
export function maskedWords(words: Ipv6Words, prefixLength: number): Ipv6Words {
  const masked = (at: number): number => words[at]! & maskWordOf(prefixLength, at);
  return [masked(0), masked(1), masked(2), masked(3)];
}

/** Whether `words` lie in the network of `prefix`. */
export function isInIpv6Prefix(words: Ipv6Words, { words: of, prefixLength }: Ipv6Prefix): boolean {
  return words.every((word, at) => ((word ^ of[at]!) & maskWordOf(prefixLength, at)) === 0);
}

/** How many leading bits two addresses share. */
export function commonPrefixLength(one: Ipv6Words, other: Ipv6Words): number {
  for (let at = 0; at < 4; at++) {
    const differing = one[at]! ^ other[at]!;
    if (differing !== 0) return 32 * at + Math.clz32(differing);
  }
  return 128;
}

/** fe80::/10. */
export function isLinkLocalWord(first: number): boolean {
  return first >>> 22 === 0x3fa;
}

/**
 * What no interface has: of fe80::/10 the bits up to the 64th are zero (RFC 4291 section 2.5.6), and images keep an
 * interface's number in the second half of this word.
 */
export function isStrayLinkLocalWord(first: number): boolean {
  return isLinkLocalWord(first) && (first & 0xffff) !== 0;
}

/** ff00::/8. */
export function isMulticastWord(first: number): boolean {
  return first >>> 24 === 0xff;
}

/** ::ffff:0:0/96, the form in which IPv4 addresses appear on IPv6 sockets and never on a wire. */
export function isMappedWords(words: Ipv6Words): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === 0xffff;
}
