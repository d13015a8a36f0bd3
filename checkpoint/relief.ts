import { type Tcb, TcpState } from "../net/tcp/tcb.ts";
import { isQuiet, type Tcp } from "../net/tcp/tcp.ts";
import { EVERYBODY } from "./wake_queue.ts";

/** Connections looked at in one go. */
const SCAN_MAX = 256;
/** How often that is done at most, and how soon again while somebody waits. */
const PAUSE_MS = 1;
const AGAIN_MS = 10;
/** Whoever never gets quiet has had so long while others waited, and goes on later. */
const SLICE_MS = 10_000;

/**
 * Finds who shall go to sleep when as many are awake as may be and others wait. The idle time of the analyzer is for
 * days with room; now whoever is quiet sleeps, and whoever is not, in the middle of what it does, after a while: none
 * waits for ever.
 */
export class Relief {
  readonly #tcp: Tcp;
  /** When those who were not quiet were first met, since somebody has been waiting. */
  readonly #busySinceMs = new Map<number, number>(); // by `Tcb.serial`
  #slot = 0;
  #atMs = -Infinity;
  #waiting = false;

  constructor(tcp: Tcp) {
    this.#tcp = tcp;
  }

  /** When to look again; `Infinity` while nobody waits for somebody to go to sleep. */
  get nextMs(): number {
    return this.#waiting ? this.#atMs + AGAIN_MS : Infinity;
  }

  /** Nobody waits any more. */
  rest(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#busySinceMs.clear();
  }

  /**
   * @param full Listeners whose sleepers wait (see `WakeQueue.full`).
   * @param countMax How many to find at most.
   * @param quietMs For how long no data may have moved on one.
   */
  *find(
    full: ReadonlySet<number>,
    countMax: number,
    quietMs: (tcb: Tcb) => number,
    nowMs: number,
  ): IterableIterator<[Tcb, "idle" | "forced"]> {
    if (full.size === 0) return this.rest();
    this.#waiting = true;
    if (nowMs < this.#atMs + PAUSE_MS && nowMs >= this.#atMs) return;
    this.#atMs = nowMs;
    const { slotsEnd } = this.#tcp;
    let left = countMax;
    for (let scanned = Math.min(SCAN_MAX, slotsEnd); scanned > 0 && left > 0; scanned--) {
      if (this.#slot >= slotsEnd) this.#slot = 0;
      const tcb = this.#tcp.tcbIn(this.#slot++);
      if (tcb === undefined || tcb.saving || tcb.state < TcpState.established) continue;
      if (!full.has(EVERYBODY) && !full.has(tcb.listener)) continue;
      if (tcb.state === TcpState.timeWait) { // nobody's any more: it needs no TCB to be over in a minute
        left--;
        yield [tcb, "forced"];
        continue;
      }
      if (maySleep(tcb)) {
        this.#busySinceMs.delete(tcb.serial);
        if (nowMs - tcb.lastActivityMs < quietMs(tcb)) continue;
        left--;
        yield [tcb, "idle"];
        continue;
      }
      const sinceMs = this.#busySinceMs.get(tcb.serial);
      if (sinceMs === undefined) this.#busySinceMs.set(tcb.serial, nowMs);
      else if (nowMs - sinceMs >= SLICE_MS) {
        this.#busySinceMs.delete(tcb.serial);
        left--;
        yield [tcb, "forced"];
      }
    }
  }
}

/** Nothing is under way, and nothing is about to be. */
export function maySleep(tcb: Tcb): boolean {
  const state = tcb.state === TcpState.established || tcb.state === TcpState.closeWait;
  return state && isQuiet(tcb) && tcb.events === 0 && !tcb.outputQueued;
}
