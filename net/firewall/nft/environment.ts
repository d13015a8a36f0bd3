import type { LinkedChain, LinkedRule } from "./linked.ts";
import type { NftPacket } from "./packet.ts";
import type { Log } from "./schema.ts";
import type { AddressTable } from "../../ip/address_table.ts";
import type { Tracker } from "../conntrack/tracker.ts";
import type { Fib } from "./fib.ts";

/** What rules ask of the stack around them. */
export interface NftEnvironment {
  /** Without one every packet is as its `track` says, and has no connection. */
  readonly tracker?: Tracker | undefined;
  /** What handles of IPv6 addresses stand for; needed with a tracker. */
  readonly addresses?: AddressTable | undefined;
  /** Without one rules with `fib` are refused. */
  readonly fib?: Fib | undefined;
  /** A number below 2^32, for `numgen random` and `meta random`. Without one it is always 0. */
  readonly random?: (() => number) | undefined;
  /** A rule says `log`. */
  readonly log?: ((log: Log, rule: LinkedRule, packet: NftPacket) => void) | undefined;
  /** A traced packet has met a rule that took it or a base chain's policy (no rule): see `traceEvent`. */
  readonly trace?:
    | ((
      packet: NftPacket,
      chain: LinkedChain,
      rule: LinkedRule | undefined,
      code: number,
    ) => void)
    | undefined;
}

/** What becomes of a packet, as rules say it. */
export const NftVerdict = {
  Accept: 0,
  Drop: 1,
  /** Dropped, and its sender is told: how stands in `reject`. */
  Reject: 2,
  /** Accepted, and when its connection sleeps its wake policy decides whether it wakes. */
  Queue: 3,
} as const;
export type NftVerdict = (typeof NftVerdict)[keyof typeof NftVerdict];
