import { bareOf } from "../../checkpoint/store/bare.ts";
import { Prng } from "../../base/random.ts";
import { FaultyDisk } from "../support/faulty_disk.ts";
import type { Plug } from "./fabric.ts";
import type { Account } from "./ledger.ts";
import { type DiskFaults, Killed } from "./machine_disk.ts";
import type { ServerPlan } from "./plan.ts";
import { Violation } from "./violation.ts";
import { ServerProcess } from "./server_process.ts";
import { SERVER_ADDRESSES, type ServerWorld } from "./server_world.ts";

/** Faults of a wire that calm takes away; its delay stays. */
export const QUIET = { loss: 0, duplicate: 0, corrupt: 0, reorder: 0, jitterMs: 0 } as const;

/** Where the first entry of a segment that anybody has asked for begins, at the latest. */
const FIRST_ENTRY_MAX = 100;
/** How soon a store that has refused is asked again. */
const RETRY_MS = 1_000;

/**
 * The server's machine: a disk that survives, and one process after the other, each with a `SleepyHost` that
 * serves two ports. Each answers every byte with one of its own. A connection's state lies in its attachment
 * only; the world's accounts are compared with it.
 */
export class ServerMachine {
  readonly disk: FaultyDisk;
  process: ServerProcess | undefined;
  plug: Plug;
  lives = 0;
  kills = 0;
  suspends = 0;
  restores = 0;
  rotten = 0;
  /** Its disk has refused reads: an image that it refuses five times, a second apart, counts as lost. */
  readsRefused = false;
  /** Its disk has refused something. */
  hasRefused = false;
  /** What the clocks of processes that start from now on are ahead of the world's. */
  aheadMs = 0;
  /** A process opens its store; there is no other beside it. */
  starting = false;
  readonly #world: ServerWorld;
  readonly #plan: ServerPlan;
  readonly #prng: Prng;
  #faults: DiskFaults = { writes: 0, syncs: 0, reads: 0 };
  #cut = false;
  #mtu = 1500;
  #calm = false;
  readonly #rottenPlaces: { name: string; at: number; location: number }[] = [];
  #doubtful: { name: string; at: number; behind: Account[] }[] = [];

  constructor(world: ServerWorld, plan: ServerPlan) {
    this.#world = world;
    this.#plan = plan;
    this.#prng = new Prng(world.seed ^ 0x5e7e);
    this.disk = new FaultyDisk(world.seed, { shortWrites: plan.shortWrites });
    this.plug = this.#newPlug();
  }

  set faults(faults: DiskFaults) {
    this.#faults = faults;
    if (faults.reads > 0) this.readsRefused = true;
    if (faults.reads + faults.writes + faults.syncs > 0) this.hasRefused = true;
    if (this.process !== undefined) this.process.disk.faults = faults;
  }

  set cut(cut: boolean) {
    this.#cut = this.plug.cut = cut;
  }

  set mtu(mtu: number) {
    this.#mtu = this.plug.pathMtu = mtu;
  }

  /** No faults from here on. */
  calm(): void {
    this.#calm = true;
    this.faults = { writes: 0, syncs: 0, reads: 0 };
    this.cut = false;
    Object.assign(this.plug.faults, QUIET);
  }

  /** Starts a process; one that its disk refuses is tried again by whoever watches machines. */
  async start(): Promise<void> {
    this.disk.restart();
    this.plug = this.#newPlug();
    const process = new ServerProcess(this.#world, this.#plan, this, this.plug, this.#prng);
    process.disk.faults = this.#faults;
    this.starting = true;
    try {
      await process.open();
      this.process = process;
    } catch (error) {
      if (error instanceof Violation) return this.#world.fail(error);
      if (!(error instanceof Killed)) process.die();
      this.#world.tell(`the server does not start: ${(error as Error).message}`);
      this.restart(500);
    } finally {
      this.starting = false;
    }
  }

  /** Starts a process in a while, when there is none by then. */
  restart(afterMs: number): void {
    const { clock } = this.#world;
    clock.at(clock.nowMs() + afterMs, () => {
      if (this.process !== undefined || this.starting) return;
      this.#world.tell("the server starts");
      this.start().catch((error) => this.#world.fail(error));
    });
  }

  /**
   * What a process that starts has found: a rotten image at the end of what its store is known to have, where rot and a
   * torn write are the same, so that all behind it was cut off (docs/limits.md).
   */
  torn(file: string, offset: number, bytes: number): void {
    for (const { name, at, behind } of this.#doubtful) {
      if (name !== file || at < offset || at >= offset + bytes) continue;
      for (const account of behind) {
        account.excuse("its image lay behind one that had rotted, where that looks like a torn write");
        this.#forgive(account);
      }
      this.#forgiveStrangers();
    }
  }

  /** Rotten places of which nothing on the disk says that they were durable, and whose images may lie behind them. */
  #findDoubtful(process: ServerProcess): void {
    const files = this.disk.list().filter((name) => name.endsWith(".seg"));
    this.#doubtful = this.#rottenPlaces.filter(({ name, at }) =>
      files.includes(name) && this.disk.twiceSynced(name) <= at &&
      !files.some((file) => file > name && this.disk.twiceSynced(file) > FIRST_ENTRY_MAX)
    ).map(({ name, at, location }) => ({
      name,
      at,
      // Of a durable one that is awake only its process knows where its log lies, and what of it is removed.
      behind: [...this.#world.accounts()].filter(({ service, tuple }) => {
        const where = tuple === undefined ? -1 : process.locationOf(tuple);
        return where >= location || where < 0 && service === "durable";
      }),
    }));
  }

  /** The process dies at once; with `power`, what was not synced may be lost. */
  kill(power: boolean): void {
    const { process } = this;
    if (process === undefined) return;
    this.kills++;
    this.process = undefined;
    this.suspends += process.host.sleeper.stats.suspends;
    this.restores += process.host.sleeper.stats.restores;
    const refused = this.#world.clock.nowMs() - process.disk.refusedAtMs <= RETRY_MS;
    for (const account of this.#world.accounts()) {
      if (account.service === "durable") {
        account.mayReturn ||= account.serverClosed && refused;
        continue;
      }
      const asleep = account.tuple !== undefined && process.isAsleep(account.tuple);
      if (power && !asleep) this.#forgive(account); // also who is over for its client, and here perhaps not
      if (account.over || account.broken !== undefined) continue;
      if (asleep) {
        if (account.unnoted) account.excuse("it slept before its server could note what it had read");
        continue;
      }
      account.excuse(
        power ? "its server lost power while it was awake" : "its server was killed while it was awake",
      );
    }
    if (power) this.#forgiveStrangers();
    this.#findDoubtful(process);
    process.die();
    if (power) {
      this.disk.off = true;
      this.disk.reboot(this.#prng.uint32());
    } else this.disk.restart();
  }

  /** Who has not said yet which connection it is may have slept and woken as well. */
  #forgiveStrangers(): void {
    for (const flow of this.#world.judge.flows.values()) flow.forgiven ||= flow.id === undefined;
  }

  /** An old image of it may come back (decision 4). */
  #forgive(account: Account): void {
    account.forgiven = true;
    const flow = this.#world.judge.flow(account.id);
    if (flow !== undefined) flow.forgiven = true;
  }

  /** Turns one bit of the image of a connection that sleeps; whether there was one. */
  rot(account: Account): boolean {
    const location = account.tuple === undefined ? -1 : this.process?.locationOf(account.tuple) ?? -1;
    if (location < 0) return false;
    let image: Uint8Array;
    try {
      const record = this.process!.store.read(location);
      image = bareOf(record) ?? record; // as it lies on the disk
    } catch {
      return false; // the disk refuses just now
    }
    const name = `${String(Math.floor(location / 2 ** 32)).padStart(8, "0")}.seg`;
    const at = indexOf(this.disk.bytes(name), image, location % 2 ** 32);
    const place = at + this.#prng.below(image.length);
    this.disk.flip(name, place, this.#prng.below(8));
    this.#rottenPlaces.push({ name, at: place, location });
    account.excuse("its image has rotted");
    this.rotten++;
    return true;
  }

  #newPlug(): Plug {
    const { fabric, judge, seed } = this.#world;
    const plug = fabric.plug("server", SERVER_ADDRESSES, new Prng(seed ^ 0xfab), judge.tap("server"));
    plug.faults = { ...this.#plan.wire, ...(this.#calm ? QUIET : {}) };
    plug.cut = this.#cut;
    plug.pathMtu = this.#mtu;
    return plug;
  }
}

function indexOf(haystack: Uint8Array, needle: Uint8Array, from: number): number {
  for (let at = from; at + needle.length <= haystack.length; at++) {
    let same = 0;
    while (same < needle.length && haystack[at + same] === needle[same]) same++;
    if (same === needle.length) return at;
  }
  return -1;
}
