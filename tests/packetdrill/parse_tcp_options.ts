import type { Scanner } from "./scanner.ts";
import type { TcpOptionSpec } from "./script.ts";

/** Kinds of options as scripts name them. */
export const OptionKind = {
  eol: 0,
  nop: 1,
  mss: 2,
  windowScale: 3,
  sackPermitted: 4,
  sack: 5,
  timestamp: 8,
  md5: 19,
  fastOpen: 34,
  /** AccECN's orders of counters: E0B first, or E1B first. */
  accEcn0: 172,
  accEcn1: 174,
  experiment: 254,
} as const;
/** Says that an experimental option is Fast Open's. */
const FAST_OPEN_MAGIC = [0xf9, 0x89];

/** `<mss 1460,sackOK,...>`; `undefined` for `<...>`, and no options where there are none. */
export function parseTcpOptions(scanner: Scanner): TcpOptionSpec[] | undefined {
  // A "<" on the next line is the next event's, and events begin with a time.
  if (scanner.take(/</) === undefined) return [];
  if (scanner.take(/\.\.\.\s*>/) !== undefined) return undefined;
  const options: TcpOptionSpec[] = [];
  do options.push(parseOption(scanner)); while (scanner.take(/,/) !== undefined);
  scanner.need(/>/, 'the end of the TCP options, ">"');
  const bytes = options.reduce((sum, { kind, data }) => sum + (kind <= 1 ? 1 : 2 + data.length), 0);
  if (bytes > 40) scanner.fail(`TCP option list too long: ${bytes} bytes`);
  if (bytes % 4 !== 0) scanner.fail(`TCP options are not padded to 4-byte boundary: ${bytes} bytes`);
  return options;
}

function parseOption(scanner: Scanner): TcpOptionSpec {
  const name = scanner.need(/\w+/, "a TCP option")[0];
  const number = (pattern: RegExp, most: number): number => {
    const value = Number(scanner.need(pattern, `the value of "${name}"`)[1]);
    if (value > most) scanner.fail(`value of TCP option "${name}" out of range`);
    return value;
  };
  switch (name) {
    case "nop":
      return { kind: OptionKind.nop, data: [] };
    case "eol":
      return { kind: OptionKind.eol, data: [] };
    case "mss":
      return { kind: OptionKind.mss, data: big(number(/(\d+)/, 0xffff), 2) };
    case "wscale":
      return { kind: OptionKind.windowScale, data: [number(/(\d+)/, 0xff)] };
    case "sackOK":
      return { kind: OptionKind.sackPermitted, data: [] };
    case "sack": {
      const data: number[] = [];
      do {
        data.push(...big(number(/(\d+)\s*:/, 0xffff_ffff), 4), ...big(number(/(\d+)/, 0xffff_ffff), 4));
      } while (scanner.sees(/\d/));
      return { kind: OptionKind.sack, data };
    }
    case "TS": {
      const val = number(/val\s+(\d+)/, 0xffff_ffff);
      return {
        kind: OptionKind.timestamp,
        data: [...big(val, 4), ...big(number(/ecr\s+(\d+)/, 0xffff_ffff), 4)],
      };
    }
    case "md5":
      return { kind: OptionKind.md5, data: hexBytes(scanner, 16) };
    case "FO":
      return { kind: OptionKind.fastOpen, data: hexBytes(scanner, 38) };
    case "FOEXP":
      return { kind: OptionKind.experiment, data: [...FAST_OPEN_MAGIC, ...hexBytes(scanner, 36)] };
    case "ECN":
      return accurateEcn(scanner);
    default:
      scanner.fail(`unknown TCP option "${name}"; found it`);
  }
}

/** `ECN e1b 1 ceb 0 e0b 1`: counters of bytes, 24 bits each, the first saying the order. */
function accurateEcn(scanner: Scanner): TcpOptionSpec {
  const data: number[] = [];
  let kind: number | undefined;
  for (;;) {
    const found = scanner.take(/(e0b|e1b|ceb)\s+(\d+)/);
    if (found === undefined) break;
    kind ??= found[1] === "e0b" ? OptionKind.accEcn0 : OptionKind.accEcn1;
    data.push(...big(Number(found[2]), 4).slice(1));
  }
  return { kind: kind ?? OptionKind.accEcn1, data };
}

function hexBytes(scanner: Scanner, most: number): number[] {
  const text = scanner.take(/[0-9a-fA-F]+/)?.[0] ?? "";
  if (text.length % 2 !== 0 || text.length > 2 * most) {
    scanner.fail(`"${text}" is no hex string of whole bytes`);
  }
  return (text.match(/../g) ?? []).map((byte) => parseInt(byte, 16));
}

function big(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, index) => (value >>> (8 * (bytes - 1 - index))) & 0xff);
}
