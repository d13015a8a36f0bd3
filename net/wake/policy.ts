import { Firewall } from "../firewall/firewall.ts";
import type { FirewallRules } from "../firewall/rule.ts";
import { checkHeldLimits, HELD_BYTES_MAX, HELD_PACKETS_MAX, HeldShare } from "./held.ts";

/** How many sleepers may wake. What is left out is not limited. */
export interface WakeBudget {
  /** Wakes per second. */
  readonly perSecond?: number;
  /** Connections that are awake at once: while there are so many, no sleeper wakes. New ones are not refused. */
  readonly awakeMax?: number;
  /**
   * Milliseconds without data after which a connection goes to sleep to make room for one that waits, however long its
   * analyzer would leave it awake, unless that is for ever. An application that answers later than that has to use its
   * id (`server.send`), for by then it may sleep. Default 100.
   */
  readonly quietMs?: number;
}

/**
 * What wakes the sleeping connections of a listener, and how many of them: plain data, so that it can be kept as JSON.
 *
 * Whoever may not wake yet, or not at all, is held back by TCP itself: what its peer sends is not acknowledged, so
 * the peer sends it again. Nothing is dropped after it was acknowledged, and nobody is reset. Those who wait wake in the
 * order in which they were wanted; of several listeners each has its turn.
 *
 * @example
 * ```ts
 * import { MemoryStore, pipe, SleepyHost, type WakePolicy } from "@torpor/torpor";
 * const wake: WakePolicy = {
 *   on: { policy: { input: "drop" }, rules: [{ source: "10.0.0.0/8", action: "accept" }] },
 *   perSecond: 20_000,
 *   awakeMax: 1_000,
 * };
 * const [link] = pipe();
 * using host = new SleepyHost({ interfaces: [{ link }], store: new MemoryStore() });
 * host.serve({ port: 7, wake, data: (connection, bytes) => void connection.write(bytes) });
 * ```
 */
export interface WakePolicy extends WakeBudget {
  /**
   * `"data"`, the default: what brings news, such as data or the peer's end; the rest is answered asleep. `"any"`: every
   * segment, noise too. Rules of a firewall: news that they accept. To them a segment is an `established` one on its way
   * in; what they drop is neither taken nor acknowledged, but for an exact reset, which ends its connection all the same.
   * `"queue"`: news that the host's nftables rules say `queue` to; to the rest nobody wakes, as if it were dropped.
   */
  readonly on?: "any" | "data" | "queue" | FirewallRules;
  /** Packets that wait with one connection that is to wake. Default 64. */
  readonly heldPacketsMax?: number;
  /** Bytes of packets that wait with all connections of this listener. Default: as many as of the whole host. */
  readonly heldBytesMax?: number;
}

/**
 * Refuses a budget that makes no sense.
 * @param where Names the budget in the message.
 * @throws {RangeError}
 */
export function checkWakeBudget({ perSecond, awakeMax, quietMs }: WakeBudget, where: string): void {
  if (perSecond !== undefined && !(perSecond > 0)) {
    throw new RangeError(`Cannot use ${where}.perSecond ${perSecond}: it must be a number above 0`);
  }
  if (awakeMax !== undefined && !(awakeMax >= 1 && (awakeMax === Infinity || Number.isInteger(awakeMax)))) {
    throw new RangeError(
      `Cannot use ${where}.awakeMax ${awakeMax}: it must be a count of connections above 0`,
    );
  }
  if (quietMs !== undefined && !(quietMs >= 0 && quietMs < Infinity)) {
    throw new RangeError(
      `Cannot use ${where}.quietMs ${quietMs}: it must be a number of milliseconds from 0 on`,
    );
  }
}

/** A policy as the stack uses it. */
export class CompiledPolicy {
  readonly policy: WakePolicy;
  /** Every segment wakes. */
  readonly any: boolean;
  /** Only what the host's rules queue wakes. */
  readonly queue: boolean;
  /** Whom news may wake; everyone, without. */
  readonly firewall: Firewall | undefined;
  readonly share: HeldShare;

  /**
   * @param interfaceNames Names by their numbers, for rules that ask where a packet came in.
   * @param packetsMax What the policy may leave out.
   * @throws {RangeError} {TypeError} When the policy makes no sense; nothing is changed then.
   */
  constructor(policy: WakePolicy, interfaceNames: readonly string[], packetsMax: number = HELD_PACKETS_MAX) {
    checkWakeBudget(policy, "wake");
    const { on = "data", heldPacketsMax = packetsMax, heldBytesMax = HELD_BYTES_MAX } = policy;
    checkHeldLimits(heldPacketsMax, heldBytesMax, "Cannot use wake.");
    this.policy = policy;
    this.any = on === "any";
    this.queue = on === "queue";
    this.firewall = typeof on === "object" && on !== null ? rulesOf(on, interfaceNames) : undefined;
    if (!this.any && !this.queue && on !== "data" && this.firewall === undefined) {
      throw new TypeError(
        `Cannot use wake.on ${JSON.stringify(on)}: it must be "any", "data", "queue" or rules`,
      );
    }
    this.share = new HeldShare(heldPacketsMax, policy.heldBytesMax ?? Infinity);
  }
}

function rulesOf(rules: FirewallRules, interfaceNames: readonly string[]): Firewall {
  try {
    for (const { action } of rules.rules) {
      if (action === "reject") throw new Error('"reject" makes no sense here: nobody is reset');
    }
    return new Firewall(rules, interfaceNames);
  } catch (cause) {
    throw new TypeError(`Cannot use wake.on: ${(cause as Error).message}`, { cause });
  }
}
