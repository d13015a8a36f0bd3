import { Prng } from "../../base/random.ts";
import { replacements, wordsOf } from "./comparisons.ts";
import { Corpus, type Entry } from "./corpus.ts";
import { budget, comparisons, edges, edgesUsed, startExecution } from "./coverage.ts";
import { allocationMaxOf, BYTES_MAX, type Target, workMaxOf } from "./target.ts";
import { mutate } from "./mutate.ts";

/** Words that comparisons have told; the oldest make room. */
const TOLD_MAX = 512;
/** Replacements tried for one new input. */
const REPLACEMENTS_MAX = 2_048;

/** An input at which a target threw. */
export interface Crash {
  readonly input: Uint8Array<ArrayBuffer>;
  readonly error: unknown;
  /** The same for crashes at one place. */
  readonly key: string;
}

/** Runs one input, whatever comes; `cmp` notes what is compared. */
export async function execute(
  target: Target,
  input: Uint8Array<ArrayBuffer>,
  cmp = false,
): Promise<Crash | undefined> {
  const copy = input.slice(); // it may be changed in place, and the finder needs it as it was
  startExecution(workMaxOf(target, input.length), allocationMaxOf(target, input.length), cmp);
  try {
    const running = target.run(copy);
    if (running !== undefined) await running;
    return undefined;
  } catch (error) {
    return { input, error, key: crashKey(error) };
  } finally {
    budget.cmp = false;
    budget.left = 0x7fff_ffff;
    budget.bytesLeft = Infinity;
  }
}

/** Where it was thrown, and as what: the first line of the stack that is not the fuzzer's or a library's. */
export function crashKey(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const line = error.stack?.split("\n").find((each) => {
    return /^\s+at /.test(each) && !/node:|assert\.ts|coverage\.ts|node_modules/.test(each);
  });
  return `${error.name} ${line?.trim().replace(/\(.*[/\\]/, "(") ?? error.message}`;
}

/** What a fuzzer has done so far. */
export interface Progress {
  runs: number;
  edges: number;
  features: number;
  corpus: number;
  crashes: number;
}

/** Finds inputs that reach new edges of one target, or crash it. The same seed and runs find the same. */
export class Fuzzer {
  readonly corpus: Corpus = new Corpus();
  readonly crashes: Map<string, Crash> = new Map();
  /** Called before every execution: a watchdog's view of what is at hand. */
  watch: (input: Uint8Array) => void = () => {};
  runs = 0;
  readonly #target: Target;
  readonly #prng: Prng;
  readonly #bytesMax: number;
  readonly #words: Uint8Array[];
  readonly #given: number;
  #told = 0;
  readonly #fresh: Entry[] = [];

  constructor(target: Target, seed: number) {
    this.#target = target;
    this.#prng = new Prng(seed);
    this.#bytesMax = target.bytesMax ?? BYTES_MAX;
    const utf8 = new TextEncoder();
    this.#words = (target.dictionary ?? []).map((word) =>
      typeof word === "string" ? utf8.encode(word) : word
    );
    this.#given = this.#words.length;
  }

  get progress(): Progress {
    const { edges, features, entries } = this.corpus;
    return { runs: this.runs, edges, features, corpus: entries.length, crashes: this.crashes.size };
  }

  /** Runs the inputs to begin with. */
  async seed(inputs: Iterable<Uint8Array>): Promise<void> {
    for (const input of inputs) await this.#try(new Uint8Array(input.subarray(0, this.#bytesMax)));
    await this.#try(new Uint8Array(0));
  }

  /** Goes on until `runs` executions are done in all, or `done` says so; it is asked every 64 of them. */
  async run(runs: number, done: () => boolean = () => false): Promise<void> {
    const prng = this.#prng;
    while (this.runs < runs && !done()) {
      const fresh = this.#fresh.pop();
      if (fresh !== undefined) {
        await this.#replace(fresh, runs, done);
        continue;
      }
      for (let round = 0; round < 64 && this.runs < runs; round++) {
        const { entries } = this.corpus;
        const entry = entries.length === 0 ? undefined : this.corpus.pick(prng.fraction());
        if (entry !== undefined) entry.tries++;
        let input = mutate(entry?.bytes ?? new Uint8Array(0), prng, {
          words: this.#words,
          other: () => entries.length === 0 ? new Uint8Array(0) : prng.pick(entries).bytes,
        }, this.#bytesMax);
        if (this.#target.mend !== undefined && prng.chance(0.9)) input = this.#target.mend(input, prng);
        await this.#try(input);
      }
    }
  }

  async #try(input: Uint8Array<ArrayBuffer>): Promise<void> {
    this.runs++;
    this.watch(input);
    const crash = await execute(this.#target, input);
    if (crash !== undefined) {
      const known = this.crashes.get(crash.key);
      if (known === undefined || known.input.length > input.length) this.crashes.set(crash.key, crash);
      return;
    }
    const entry = this.corpus.judge(input, edges, edgesUsed());
    if (entry !== undefined) this.#fresh.push(entry);
  }

  /** What a new input's comparisons tell. */
  async #replace(entry: Entry, runs: number, done: () => boolean): Promise<void> {
    this.watch(entry.bytes);
    await execute(this.#target, entry.bytes, true);
    const told = comparisons.slice();
    for (const word of wordsOf(told)) {
      if (this.#words.length < this.#given + TOLD_MAX) this.#words.push(word);
      else this.#words[this.#given + this.#told++ % TOLD_MAX] = word;
    }
    let left = REPLACEMENTS_MAX;
    for (const changed of replacements(entry.bytes, told)) {
      if (left-- === 0 || this.runs >= runs || (left % 64 === 0 && done())) break;
      if (changed.length > this.#bytesMax) continue;
      await this.#try(this.#target.mend?.(changed, this.#prng) ?? changed);
    }
  }
}
