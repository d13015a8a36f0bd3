import { assert } from "../../base/assert.ts";

const PLACES_MIN = 64;

/**
 * Numbers in the order of their adding, at most `countMax`: each gets a place by which it can be taken out again, from
 * anywhere, at once.
 */
export class TurnList {
  readonly countMax: number;
  size = 0;
  // By place. A list through them, whose head is place 0; free places are chained through `next`.
  #next: Int32Array = new Int32Array(PLACES_MIN);
  #previous: Int32Array = new Int32Array(PLACES_MIN);
  #numbers: Int32Array = new Int32Array(PLACES_MIN);
  #end = 1; // places from here on have never been used
  #free = 0;

  constructor(countMax: number) {
    this.countMax = countMax;
  }

  /** Bytes of memory held. */
  get byteLength(): number {
    return 3 * this.#next.byteLength;
  }

  /** Adds a number behind all others, and returns its place. */
  add(number: number): number {
    assert(this.size < this.countMax, "Somebody makes room first");
    let place = this.#free;
    if (place > 0) this.#free = this.#next[place]!;
    else if ((place = this.#end++) === this.#next.length) this.#grow();
    const last = this.#previous[0]!;
    this.#numbers[place] = number;
    this.#next[last] = place;
    this.#previous[place] = last;
    this.#next[place] = 0;
    this.#previous[0] = place;
    this.size++;
    return place;
  }

  /** Takes out the number at `place`. */
  remove(place: number): void {
    const next = this.#next[place]!, previous = this.#previous[place]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#next[place] = this.#free;
    this.#free = place;
    this.size--;
  }

  /** Takes out the number that has been there longest. */
  takeFirst(): number {
    const place = this.#next[0]!;
    assert(place > 0, "Only what is there can be taken");
    this.remove(place);
    return this.#numbers[place]!;
  }

  #grow(): void {
    const grown = (old: Int32Array): Int32Array => {
      const made = new Int32Array(2 * old.length);
      made.set(old);
      return made;
    };
    this.#next = grown(this.#next);
    this.#previous = grown(this.#previous);
    this.#numbers = grown(this.#numbers);
  }
}
