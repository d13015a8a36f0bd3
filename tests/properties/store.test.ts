import fc from "fast-check";
import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import type { Location } from "../../checkpoint/store/store.ts";
import { record } from "../checkpoint/store/world.ts";
import { FaultyDisk } from "../support/faulty_disk.ts";

const RUNS = 120;
const SEED = 20_261_129;
/** Small, so that a short run seals segments and deletes them. */
const SEGMENT_BYTES = 700;

/**
 * What a store promises, and nothing of how: the list of its states, each a list of records, and how many of
 * them cannot be taken back. One state follows another by one record that comes or one list that goes.
 */
class StoreModel {
  states: number[][] = [[]];
  /** States that survive the death of the process, as all that were written do; and of the machine. */
  durable = 0;
  next = 0;

  get live(): number[] {
    return this.states.at(-1)!;
  }

  change(come: number | undefined, go: readonly number[]): void {
    const left = this.live.filter((id) => !go.includes(id));
    this.states.push(come === undefined ? left : [...left, come]);
  }

  /** The store was found to hold `ids`: which of its states that is. Later ones never happened. */
  found(ids: readonly number[], least: number): void {
    const at = this.states.findLastIndex((state) => state.join() === ids.join());
    expect(at, `live: ${ids}; states: ${this.states.slice(least).join(" | ")}`).toBeGreaterThanOrEqual(least);
    this.states.length = at + 1;
    this.durable = at;
  }
}

/** A real store on a disk that can lose power, and where its records are. */
class RealStore {
  readonly disk = new FaultyDisk(1, { mode: "power" });
  readonly #entropy = new Prng(1);
  readonly locations = new Map<number, Location>();
  store!: FileStore;

  async open(): Promise<number[]> {
    this.store = await FileStore.open(this.disk, { segmentBytes: SEGMENT_BYTES, entropy: this.#entropy });
    this.locations.clear();
    return Array.from(this.store.live(), ({ location, bytes }) => {
      const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      expect(bytes).toEqual(record(id));
      this.locations.set(id, location);
      return id;
    });
  }
}

type StoreCommand = fc.AsyncCommand<StoreModel, RealStore>;

function command(
  name: string,
  run: (model: StoreModel, real: RealStore) => Promise<void> | void,
): StoreCommand {
  return { check: () => true, run: async (model, real) => await run(model, real), toString: () => name };
}

/** Records that live, by any numbers. */
function chosen(model: StoreModel, numbers: readonly number[]): number[] {
  const { live } = model;
  return live.length === 0 ? [] : [...new Set(numbers.map((number) => live[number % live.length]!))];
}

const numbers = fc.array(fc.nat(40), { maxLength: 4 });

const commands: fc.Arbitrary<StoreCommand>[] = [
  fc.tuple(fc.integer({ min: 1, max: 4 }), numbers).map(([count, olds]) =>
    command(`append ${count}, superseding ${olds}`, (model, real) => {
      const old = chosen(model, olds).slice(0, count);
      const come = Array.from({ length: count }, () => model.next++);
      const { locations, durable } = real.store.append(come.map(record), {
        supersedes: come.map((_, at) => old[at] === undefined ? undefined : real.locations.get(old[at])),
      });
      durable.catch(() => {}); // power may fail before
      come.forEach((id, at) => {
        model.change(id, old.slice(at, at + 1));
        real.locations.set(id, locations[at]!);
      });
    })
  ),
  numbers.map((which) =>
    command(`remove ${which}`, (model, real) => {
      const go = chosen(model, which);
      real.store.remove(go.map((id) => real.locations.get(id)!)).durable.catch(() => {});
      if (go.length > 0) model.change(undefined, go);
    })
  ),
  fc.constant(command("read all", (model, real) => {
    for (const id of model.live) expect(real.store.read(real.locations.get(id)!)).toEqual(record(id));
    for (const [id, location] of real.locations) {
      if (!model.live.includes(id)) expect(() => real.store.read(location)).toThrow(/no live record/);
    }
    expect(real.store.stats.recordsLive).toBe(model.live.length);
  })),
  fc.constant(command("sync", async (model, real) => {
    const promised = model.states.length - 1;
    await real.store.sync();
    model.durable = promised;
  })),
  fc.constant(command("close and open", async (model, real) => {
    await real.store.close();
    model.durable = model.states.length - 1;
    model.found(await real.open(), model.durable);
  })),
  fc.constant(command("the process dies", async (model, real) => {
    real.disk.restart();
    model.found(await real.open(), model.states.length - 1);
  })),
  fc.nat(1_000).map((seed) =>
    command(`power fails (${seed})`, async (model, real) => {
      real.disk.reboot(seed);
      model.found(await real.open(), model.durable);
    })
  ),
];

test(
  "a store is a list of records that come and go: through syncs, deaths and power failures, the list after some change, and never before one that was promised",
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 60, size: "max" }), async (sequence) => {
        const model = new StoreModel();
        const real = new RealStore();
        await real.open();
        await fc.asyncModelRun(() => ({ model, real }), sequence);
        await real.store.close();
        model.found(await real.open(), model.states.length - 1);
      }),
      { seed: SEED, numRuns: RUNS },
    );
  },
  120_000,
);
