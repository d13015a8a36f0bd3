/** Dimensions with so few values are looked up in a table, not searched. */
const TABLE_BITS = 8;
/** So few cuts are searched, and so many have a table for the first bits of 16. */
const SEARCHED_MAX = 32;
const WIDE_FROM = 1_024;
/** In one entry of a table so few cuts are searched one after another; with more it leads to a table for further bits. */
const ENTRY_CUTS_MAX = 8;

/** Entries of a window: one that 16 KB of cuts fill, and one for very few. */
const WINDOW_MAX = 65_536;
const WINDOW_MIN = 1_024;

/**
 * Where a value's row stands: an entry for each `2 ** shift` values from `base` on. It is a row, or negative: see
 * {@linkcode Line.rowFrom}.
 */
export interface Window {
  readonly entries: Int32Array;
  readonly base: number;
  readonly shift: number;
  /** Rows of what is below `base`, and behind the last entry. */
  readonly below: number;
  readonly above: number;
}

/**
 * The cuts of one dimension: where each class of values begins, and the row of the class. Of many cuts a value's first
 * bits say by a table, and where that does not suffice further bits by another one, which class it is, or between which
 * few to search.
 */
export class Line {
  readonly words: number;
  /** `words` numbers for each cut, flipped so that they are in order as signed ones. */
  readonly #starts: Int32Array;
  readonly #rows: Int32Array;
  readonly #flip: number;
  /**
   * Tables one behind the other. An entry is a row, or, inverted, twice the cut at which to begin a search, or twice the
   * place of a further table and one.
   */
  readonly #tables: Int32Array;
  /** Bits of a value behind those that tables of a level look at; and how many those are, as a mask. */
  readonly #shifts: Int32Array;
  readonly #masks: Int32Array;
  readonly #firstShift: number;

  constructor(bits: number, starts: readonly bigint[], rows: readonly number[]) {
    this.words = bits > 32 ? 4 : 1;
    this.#flip = bits >= 32 ? 0x8000_0000 | 0 : 0;
    this.#starts = new Int32Array(starts.length * this.words);
    starts.forEach((start, at) => {
      for (let word = 0; word < this.words; word++) {
        const part = Number(BigInt.asIntN(32, start >> BigInt(32 * (this.words - 1 - word))));
        this.#starts[at * this.words + word] = part ^ this.#flip;
      }
    });
    this.#rows = Int32Array.from(rows);
    const widths = this.words > 1 ? [] : widthsOf(bits, starts.length);
    this.#masks = Int32Array.from(widths, (width) => 2 ** width - 1);
    let behind = bits;
    this.#shifts = Int32Array.from(widths, (width) => behind -= width);
    this.#firstShift = this.#shifts[0] ?? 0;
    this.#tables = widths.length === 0
      ? new Int32Array(0)
      : tablesOf(starts.map(Number), rows, widths, this.#shifts);
  }

  get bytes(): number {
    return this.#starts.byteLength + this.#rows.byteLength + this.#tables.byteLength;
  }

  /** The row of the class of a value of up to 32 bits. */
  rowOfWord(word: number): number {
    if (this.#tables.length === 0) return this.#search(word);
    const entry = this.#tables[word >>> this.#firstShift]!;
    return entry >= 0 ? entry : this.#further(word, entry);
  }

  #search(word: number): number {
    const starts = this.#starts;
    const value = word ^ this.#flip;
    let low = 0;
    for (let count = starts.length; count > 1;) {
      const half = count >> 1;
      if (starts[low + half]! <= value) low += half;
      count -= half;
    }
    return this.#rows[low]!;
  }

  /** One table for most values of up to 32 bits, from the first cut to the last, as far as it has room. */
  window(): Window {
    const starts = Array.from(this.#starts, (start) => (start ^ this.#flip) >>> 0);
    const rows = this.#rows;
    const base = starts[1] ?? 0;
    const span = (starts.at(-1)! - base) || 1; // values from the last cut on have its row
    const most = Math.min(WINDOW_MAX, Math.max(WINDOW_MIN, 4 * starts.length));
    let shift = 0;
    while (Math.floor((span - 1) / 2 ** shift) >= most) shift++;
    const entries = new Int32Array(Math.floor((span - 1) / 2 ** shift) + 1);
    let cut = 0;
    for (let entry = 0; entry < entries.length; entry++) {
      const begin = base + entry * 2 ** shift;
      while (cut + 1 < starts.length && starts[cut + 1]! <= begin) cut++;
      const first = cut;
      while (cut + 1 < starts.length && starts[cut + 1]! < begin + 2 ** shift) cut++;
      entries[entry] = cut === first ? rows[cut]! : ~first;
    }
    return { entries, base, shift, below: rows[0]!, above: rows.at(-1)! };
  }

  /** The row of a value whose entry in the window is none. */
  rowFrom(word: number, entry: number): number {
    const starts = this.#starts;
    const value = word ^ this.#flip;
    let low = ~entry;
    for (let left = ENTRY_CUTS_MAX; left > 0; left--, low++) {
      if (low + 1 === starts.length || starts[low + 1]! > value) return this.#rows[low]!;
    }
    return this.rowOfWord(word);
  }

  /** What an entry of the first table leads to. */
  #further(word: number, entry: number): number {
    const tables = this.#tables;
    for (let level = 1; entry < 0; level++) {
      const to = ~entry >>> 1;
      if ((~entry & 1) === 0) {
        const starts = this.#starts;
        const value = word ^ this.#flip;
        let low = to;
        while (low + 1 < starts.length && starts[low + 1]! <= value) low++;
        return this.#rows[low]!;
      }
      entry = tables[to + ((word >>> this.#shifts[level]!) & this.#masks[level]!)]!;
    }
    return entry;
  }

  /** The row of the class of the value that stands in `key` from `at` on. */
  rowOf(key: Int32Array, at: number): number {
    if (this.words === 1) return this.rowOfWord(key[at]!);
    const starts = this.#starts;
    const flip = this.#flip;
    let low = 0;
    const a = key[at]! ^ flip;
    const b = key[at + 1]! ^ flip;
    const c = key[at + 2]! ^ flip;
    const d = key[at + 3]! ^ flip;
    for (let count = starts.length >> 2; count > 1;) {
      const half = count >> 1;
      const cut = (low + half) << 2;
      const order = starts[cut]! - a || starts[cut + 1]! - b || starts[cut + 2]! - c || starts[cut + 3]! - d;
      if (order <= 0) low += half;
      count -= half;
    }
    return this.#rows[low]!;
  }
}

/** How many bits tables of each level look at; none for a search. */
function widthsOf(bits: number, cuts: number): number[] {
  if (bits <= TABLE_BITS) return [bits];
  if (cuts < SEARCHED_MAX) return [];
  if (bits <= 16) return [bits];
  const widths = [cuts < WIDE_FROM ? 8 : 16];
  for (let left = bits - widths[0]!; left > 0; left -= widths.at(-1)!) widths.push(Math.min(8, left));
  return widths;
}

function tablesOf(
  starts: readonly number[],
  rows: readonly number[],
  widths: readonly number[],
  shifts: Int32Array,
): Int32Array {
  const tables: number[] = [];
  /** The table for values from `base` on, whose first has the cut `cut`. */
  const build = (level: number, base: number, cut: number): number => {
    const place = tables.length;
    const entries = 2 ** widths[level]!;
    for (let entry = 0; entry < entries; entry++) tables.push(0);
    const span = 2 ** shifts[level]!;
    for (let entry = 0; entry < entries; entry++) {
      const begin = base + entry * span;
      while (cut + 1 < starts.length && starts[cut + 1]! <= begin) cut++;
      const first = cut;
      while (cut + 1 < starts.length && starts[cut + 1]! < begin + span) cut++;
      tables[place + entry] = cut === first
        ? rows[cut]!
        : cut - first <= ENTRY_CUTS_MAX
        ? ~(first << 1)
        : ~((build(level + 1, begin, first) << 1) | 1);
    }
    return place;
  };
  build(0, 0, 0);
  return Int32Array.from(tables);
}
