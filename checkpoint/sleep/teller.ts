import { throwLater } from "../../net/socket/throw_later.ts";
import type { Events } from "../events.ts";
import { Unheard } from "../unheard.ts";
import type { SleeperEvents } from "./types.ts";

/** Tells whoever listens to a sleeper, and nobody's mistake ends what it is at. */
export class Teller {
  readonly #events: Events<SleeperEvents>;
  readonly #unheard = new Unheard();

  constructor(events: Events<SleeperEvents>) {
    this.#events = events;
  }

  /** Whether anybody listens: names and times are made up for those only. */
  isHeard(event: keyof SleeperEvents): boolean {
    return this.#events.listenerCount(event) > 0;
  }

  emit<E extends keyof SleeperEvents>(event: E, ...told: Parameters<SleeperEvents[E]>): void {
    this.#events.emit(event, ...told as never);
  }

  /** An `error` event, or where nobody listens to those the console. */
  report(error: unknown): void {
    const told = toError(error);
    if (this.#events.listenerCount("error") > 0) this.guarded(() => this.#events.emit("error", told));
    else this.#unheard.tell(told);
  }

  /** Somebody else's mistake is thrown again where nothing catches it, and no turn ends halfway. */
  guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      throwLater(error);
    }
  }
}

export function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
