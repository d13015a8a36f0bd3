import { refuse } from "./appliance_error.ts";

/** Linux takes no longer path (PATH_MAX, linux/limits.h), in bytes. */
export const PATH_BYTES_MAX = 4096;
/** Nor a longer name in one (NAME_MAX). */
export const NAME_BYTES_MAX = 255;

const encoder = new TextEncoder();

/**
 * The names on the way to `raw`, as archives write it: `./usr/bin/` is `["usr", "bin"]`, `./` the root, `[]`.
 * @throws {ApplianceError} When it is absolute, has `..` in it, is too long, or holds a zero byte.
 */
export function namesOf(raw: string): string[] {
  if (raw.startsWith("/")) refuse("path", `Cannot take path ${quoted(raw)}: it is absolute`);
  if (raw.length > PATH_BYTES_MAX || encoder.encode(raw).length > PATH_BYTES_MAX) {
    refuse("path", `Cannot take path ${quoted(raw)}: it has more than ${PATH_BYTES_MAX} bytes`);
  }
  const names = raw.split("/").filter((name) => name !== "" && name !== ".");
  for (const name of names) {
    if (name === "..") refuse("path", `Cannot take path ${quoted(raw)}: it goes up`);
    if (name.includes("\0")) refuse("path", `Cannot take path ${quoted(raw)}: it holds a zero byte`);
    if (name.length > NAME_BYTES_MAX / 4 && encoder.encode(name).length > NAME_BYTES_MAX) {
      refuse("path", `Cannot take path ${quoted(raw)}: a name in it has more than ${NAME_BYTES_MAX} bytes`);
    }
  }
  return names;
}

/** Names in the one order that trees have: that of their UTF-8 bytes. */
export function compareNames(left: string, right: string): number {
  const shorter = Math.min(left.length, right.length);
  for (let at = 0; at < shorter; at++) {
    const a = left.charCodeAt(at), b = right.charCodeAt(at);
    if (a !== b) return rank(a) - rank(b);
  }
  return left.length - right.length;
}

/** Halves of surrogate pairs stand for characters above all others. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}

/** Paths in the order of a walk: a folder, then all in it, then its next sibling. */
export function comparePaths(left: string, right: string): number {
  const a = left.split("/"), b = right.split("/");
  for (let at = 0; at < a.length && at < b.length; at++) {
    const order = compareNames(a[at]!, b[at]!);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** A path in a message: quoted, and cut. */
export function quoted(path: string): string {
  return JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
}
