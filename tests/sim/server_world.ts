import type { VirtualClock } from "../../base/clock.ts";
import type { Recorder } from "../../checkpoint/replay/recorder.ts";
import type { Fabric } from "./fabric.ts";
import type { Judge } from "./judge.ts";
import type { Account } from "./ledger.ts";
import type { Service } from "./plan.ts";

export const SERVER_ADDRESSES = ["10.0.0.1", "fd00::1"] as const;
export const PORTS: Readonly<Record<Service, number>> = { handlers: 7, conn: 9, durable: 11 };

/** Far more than a world has, and little memory: worlds are many. */
export const CONNECTIONS_MAX = 1_024;

/** How the server's machine reaches the rest of the world. */
export interface ServerWorld {
  readonly clock: VirtualClock;
  readonly fabric: Fabric;
  readonly judge: Judge;
  readonly seed: number;
  account(id: number): Account | undefined;
  accounts(): Iterable<Account>;
  tell(what: string): void;
  record(name: string): Recorder | undefined;
  /** A violation that came to light where nobody could catch it. */
  fail(error: unknown): void;
}
