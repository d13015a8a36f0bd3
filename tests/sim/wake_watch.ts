import type { SleepyHost } from "../../checkpoint/host.ts";
import type { WakeBudget } from "../../net/wake/policy.ts";
import type { ServerPlan } from "./plan.ts";
import { PORTS } from "./server_world.ts";
import { must } from "./violation.ts";

/** What a bucket holds: as much as comes in so long. */
const BURST_MS = 100;
/** Sums of fractions are not exact. */
const SLACK = 0.01;
/** 10.0.0.1, as the stack has it: all of the server's listeners listen everywhere. */
const SERVER = 0x0a000001;

/** A budget of wakes, reckoned anew from what is seen of wakes alone. */
class Budget {
  readonly #perMs: number;
  readonly #most: number;
  readonly #awakeMax: number;
  readonly #whose: string;
  #tokens: number;
  #atMs: number;

  constructor({ perSecond = Infinity, awakeMax = Infinity }: WakeBudget, whose: string, nowMs: number) {
    this.#perMs = perSecond / 1_000;
    this.#most = this.#tokens = Math.max(1, this.#perMs * BURST_MS);
    this.#awakeMax = awakeMax;
    this.#whose = whose;
    this.#atMs = nowMs;
  }

  /** One has woken, and so many are awake now. */
  woke(awake: number, nowMs: number): void {
    must(awake <= this.#awakeMax, () => `${awake} are awake of ${this.#whose}, and ${this.#awakeMax} may be`);
    if (this.#perMs === Infinity) return;
    this.#tokens = Math.min(this.#most, this.#tokens + Math.max(0, nowMs - this.#atMs) * this.#perMs) - 1;
    this.#atMs = nowMs;
    must(this.#tokens >= -SLACK, () => `More of ${this.#whose} wake than ${1_000 * this.#perMs} in a second`);
  }
}

/**
 * Holds a host's wakes against its budgets: of all, and of those who are served by handlers alone.
 * @param isCalm Whether no disk has refused: who was read in vain wakes later, whoever is awake then.
 */
export function watchWakes(
  host: SleepyHost,
  plan: ServerPlan,
  isCalm: () => boolean,
  fail: (error: unknown) => void,
): void {
  const nowMs = (): number => host.clock.nowMs();
  const { tcp } = host.stack;
  const all = new Budget(plan.wake, "all", nowMs());
  const handlers = new Budget(plan.handlersWake ?? {}, "a listener's", nowMs());
  const ofHandlers = new RegExp(`:${PORTS.handlers}-`);
  host.sleeper.on("restored", ({ id }: { id: string }) => {
    if (!isCalm()) return;
    try {
      all.woke(tcp.awake, nowMs());
      const listener = tcp.listeners.find(SERVER, PORTS.handlers);
      if (ofHandlers.test(id)) handlers.woke(listener?.awake ?? 0, nowMs());
    } catch (error) {
      fail(error);
    }
  });
}
