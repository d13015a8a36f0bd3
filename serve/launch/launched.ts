import type { Service } from "../../checkpoint/appliances/appliance.ts";

/** Services of one environment, at most: each is an address of the host, or a supervisor of the container. */
export const SERVICES_MAX = 64;

/** What has become of a service. Plain data: `torpor appliance launch --json` prints it. */
export type LaunchEvent =
  /** It runs. `address` is where it is reached; `pid`, of a container, is the process number inside. */
  | {
    readonly service: string;
    readonly state: "started";
    readonly address: string;
    readonly ports: readonly string[];
    readonly pid?: number;
  }
  /** It could not start, or threw what nobody caught; the others go on. */
  | { readonly service: string; readonly state: "failed"; readonly why: string }
  /** It ended by itself: with a code, or by a signal. */
  | { readonly service: string; readonly state: "exited"; readonly code: number; readonly signal?: string }
  /** It was asked to end and has ended; `killed` when it did not do so in time. */
  | { readonly service: string; readonly state: "stopped"; readonly killed: boolean };

/** Services that run in one environment. */
export interface Launched extends AsyncDisposable {
  /** Resolves when none is left, by themselves or by `stop`. */
  readonly done: Promise<void>;
  /** Ends all, the last that was started first. */
  stop(): Promise<void>;
}

/** Services that cannot be launched, or an environment that cannot be made: `message` says which and why. */
export class LaunchError extends Error {
  /** What `Error.prototype.name` says. */
  override name = "LaunchError";
}

/** @throws {LaunchError} When there is none, too many, or two have one name. */
export function checkServices(services: readonly Service[]): void {
  if (services.length === 0) throw new LaunchError("Cannot launch: nothing says what is to be started");
  if (services.length > SERVICES_MAX) {
    throw new LaunchError(`Cannot launch ${services.length} services: at most ${SERVICES_MAX}`);
  }
  const names = new Set<string>();
  for (const { name } of services) {
    if (names.has(name)) throw new LaunchError(`Cannot launch: two services are called "${name}"`);
    names.add(name);
  }
}
