/** Ways in which a number may stand in an input. */
const ENCODINGS: readonly { width: number; little: boolean }[] = [
  { width: 4, little: false },
  { width: 4, little: true },
  { width: 2, little: false },
  { width: 2, little: true },
  { width: 1, little: false },
];
const utf8 = new TextEncoder();

/** An operand as bytes, in every way in which it fits. */
function encodings(value: unknown): Uint8Array[] {
  if (typeof value === "string") return value.length > 0 && value.length <= 64 ? [utf8.encode(value)] : [];
  if (typeof value === "bigint") {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value));
    return [bytes, bytes.toReversed()];
  }
  if (typeof value !== "number" || !Number.isInteger(value) || Math.abs(value) > 0xffff_ffff) return [];
  return ENCODINGS.map(({ width, little }) => {
    const least = value < 0 ? -(2 ** (8 * width - 1)) : 0;
    if (value < least || value >= 256 ** width) return new Uint8Array(0);
    const bytes = new Uint8Array(width);
    for (let i = 0; i < width; i++) bytes[little ? i : width - 1 - i] = Math.floor(value / 256 ** i);
    return bytes;
  });
}

/** The neighbours of a bound are as interesting as the bound. */
function neighbours(value: unknown): unknown[] {
  return typeof value === "number" ? [value, value + 1, value - 1] : [value];
}

/**
 * Inputs in which one operand of a comparison, found as it stands, gives way to the other: how magic
 * numbers and lengths are found that no chance would find (input-to-state correspondence; Redqueen,
 * NDSS 2019).
 */
export function* replacements(
  input: Uint8Array<ArrayBuffer>,
  comparisons: readonly unknown[],
): Generator<Uint8Array<ArrayBuffer>> {
  const seen = new Set<string>();
  for (let index = 0; index < comparisons.length; index += 2) {
    for (const [from, to] of [[0, 1], [1, 0]] as const) {
      const found = comparisons[index + from];
      const wanted = comparisons[index + to];
      const key = `${typeof found}${String(found)}/${typeof wanted}${String(wanted)}`;
      if (typeof found !== typeof wanted || seen.has(key)) continue;
      seen.add(key);
      const patterns = encodings(found);
      for (const value of neighbours(wanted)) {
        const puts = encodings(value);
        for (let way = 0; way < patterns.length; way++) {
          const pattern = patterns[way]!;
          const put = puts[way];
          if (put === undefined || put.length === 0 || pattern.length === 0) continue;
          for (const at of places(input, pattern)) {
            const changed = new Uint8Array(input.length - pattern.length + put.length);
            changed.set(input.subarray(0, at));
            changed.set(put, at);
            changed.set(input.subarray(at + pattern.length), at + put.length);
            yield changed;
          }
        }
      }
    }
  }
}

/** Words for the dictionary out of what was compared: constants are more often right than chance. */
export function* wordsOf(comparisons: readonly unknown[]): Generator<Uint8Array> {
  for (const value of comparisons) {
    if (typeof value === "string") yield* encodings(value);
    else if (typeof value === "number" && Math.abs(value) > 255) {
      for (const bytes of encodings(value)) if (bytes.length > 1) yield bytes;
    }
  }
}

/** Where `pattern` stands in `input`; of one byte only the first few. */
function* places(input: Uint8Array, pattern: Uint8Array): Generator<number> {
  let left = 8;
  for (let at = 0; at + pattern.length <= input.length && left > 0; at++) {
    let same = 0;
    while (same < pattern.length && input[at + same] === pattern[same]) same++;
    if (same < pattern.length) continue;
    left--;
    yield at;
  }
}
