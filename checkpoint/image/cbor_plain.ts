import type { CborValue } from "./cbor.ts";

let source: Uint8Array = new Uint8Array(0);
let at = 0;

/**
 * The one item that `bytes` are, which have been scanned (cbor_scan.ts) and hold neither text nor floats nor wide
 * integers: bodies of connections above all, thousands of which are read in a turn.
 */
export function decodePlain(bytes: Uint8Array): CborValue {
  source = bytes;
  at = 0;
  const value = item();
  source = EMPTY;
  return value;
}

const EMPTY = new Uint8Array(0);

function item(): CborValue {
  const initial = source[at++]!;
  const info = initial & 31;
  const major = initial >> 5;
  if (major === 7) return info === 22 ? null : info === 21;
  let argument = info;
  if (info >= 24) {
    argument = source[at++]!;
    for (let more = (1 << (info - 24)) - 1; more > 0; more--) argument = argument * 256 + source[at++]!;
  }
  switch (major) {
    case 0:
      return argument;
    case 1:
      return -1 - argument;
    case 2:
      return source.subarray(at, at += argument);
    case 4: {
      const list: CborValue[] = [];
      for (let index = 0; index < argument; index++) list.push(item());
      return list;
    }
    default: {
      const map = new Map<string | number, CborValue>();
      for (let pair = 0; pair < argument; pair++) {
        const key = item() as number;
        map.set(key, item());
      }
      return map;
    }
  }
}
