import { EDGES_MAX } from "./coverage.ts";

/** Hit counts that differ by less say nothing new (AFL's buckets): 1, 2, 3, 4-7, 8-15, 16-31, 32-127, 128-. */
const BUCKETS = 8;
const BUCKET_OF: Uint8Array = Uint8Array.from({ length: 256 }, (_, hits) => {
  return hits <= 3 ? hits - 1 : hits < 8 ? 3 : hits < 16 ? 4 : hits < 32 ? 5 : hits < 128 ? 6 : 7;
});

/** An input worth keeping, and what it is worth. */
export interface Entry {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Features of which no shorter input is known. */
  owned: number;
  /** How often it has been changed. */
  tries: number;
  /** Its place in the order of finds. */
  readonly born: number;
}

/**
 * The inputs that together reach all that is known to be reachable, each thing by the shortest of them. A
 * feature is an edge with a bucket of hit counts.
 */
export class Corpus {
  readonly entries: Entry[] = [];
  #born = 0;
  readonly #owner: (Entry | undefined)[] = new Array(EDGES_MAX * BUCKETS);
  /** In how many executions a feature was seen. */
  readonly #seen = new Uint32Array(EDGES_MAX * BUCKETS);
  readonly #edgeSeen = new Uint8Array(EDGES_MAX);
  readonly #touched = new Int32Array(EDGES_MAX);
  #weights: number[] = [];
  #stale = 0;
  edges = 0;
  features = 0;

  /**
   * Judges an execution by its hits, and keeps the input when it reaches something new, or something known
   * with fewer bytes.
   * @returns The new entry, when it is one.
   */
  judge(bytes: Uint8Array<ArrayBuffer>, hits: Uint8ClampedArray, used: number): Entry | undefined {
    const touched = this.#touched;
    let count = 0;
    let worth = false;
    for (let edge = 0; edge < used; edge++) {
      const times = hits[edge]!;
      if (times === 0) continue;
      const feature = edge * BUCKETS + BUCKET_OF[times]!;
      touched[count++] = feature;
      const owner = this.#owner[feature];
      if (owner === undefined || owner.bytes.length > bytes.length) worth = true;
      this.#seen[feature]!++;
    }
    if (!worth) return undefined;
    const entry: Entry = { bytes, owned: 0, tries: 0, born: this.#born++ };
    for (let at = 0; at < count; at++) {
      const feature = touched[at]!;
      const owner = this.#owner[feature];
      if (owner !== undefined && owner.bytes.length <= bytes.length) continue;
      if (owner === undefined) this.features++;
      else owner.owned--;
      const edge = Math.floor(feature / BUCKETS);
      if (this.#edgeSeen[edge] === 0) {
        this.#edgeSeen[edge] = 1;
        this.edges++;
      }
      this.#owner[feature] = entry;
      entry.owned++;
    }
    this.entries.push(entry);
    this.#weights = [];
    return entry;
  }

  /** Draws an entry; `fraction` is uniform in [0, 1). Rare features, few tries and late finds weigh more. */
  pick(fraction: number): Entry {
    if (this.#weights.length !== this.entries.length || ++this.#stale > 2_000) this.#weigh();
    const weights = this.#weights;
    const wanted = fraction * weights.at(-1)!;
    let low = 0;
    for (let high = weights.length - 1; low < high;) {
      const middle = (low + high) >>> 1;
      if (weights[middle]! > wanted) high = middle;
      else low = middle + 1;
    }
    return this.entries[low]!;
  }

  #weigh(): void {
    this.#stale = 0;
    this.#drop();
    const rarity = new Map<Entry, number>();
    for (let feature = 0; feature < this.#owner.length; feature++) {
      const owner = this.#owner[feature];
      if (owner !== undefined) {
        rarity.set(owner, (rarity.get(owner) ?? 0) + 1 / (1 + Math.log2(this.#seen[feature]!)));
      }
    }
    let sum = 0;
    this.#weights = this.entries.map((entry) => {
      const news = entry.born > this.#born * 0.8 ? 2 : 1;
      sum += (0.1 + (rarity.get(entry) ?? 0)) * news / (1 + Math.log2(1 + entry.tries));
      return sum;
    });
  }

  /** Entries that shorter ones have made superfluous go. */
  #drop(): void {
    let kept = 0;
    for (const entry of this.entries) if (entry.owned > 0) this.entries[kept++] = entry;
    this.entries.length = kept;
  }

  /** Inputs that together reach every edge, the shortest first, at most `bytesMax` bytes of them. */
  minimal(bytesMax: number): Uint8Array<ArrayBuffer>[] {
    const owners = new Set<Entry>();
    for (let edge = 0; edge < EDGES_MAX; edge++) {
      let least: Entry | undefined;
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        const owner = this.#owner[edge * BUCKETS + bucket];
        if (owner === undefined || (least !== undefined && least.bytes.length <= owner.bytes.length)) {
          continue;
        }
        least = owner;
      }
      if (least !== undefined) owners.add(least);
    }
    const chosen = [...owners].map(({ bytes }) => bytes).sort((a, b) => a.length - b.length || compare(a, b));
    let left = bytesMax;
    return chosen.filter((bytes) => (left -= bytes.length) >= 0);
  }
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return a[at]! - b[at]!;
  return 0;
}
