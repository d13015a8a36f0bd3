import { Field } from "../net/connections/connection_map.ts";
import type { Stack } from "../net/stack.ts";
import type { FrozenTcb } from "../net/tcp/frozen_tcb.ts";
import type { SleepTimers } from "../net/wake/sleep_timers.ts";
import { summarize, SUMMARY_WORDS } from "../net/wake/summary.ts";
import type { FirewallKeeper } from "./firewall/firewall_keeper.ts";
import type { Journal } from "./journal.ts";
import { redateImages } from "./redate.ts";
import { type FrozenSocket, readSocketImage, stretchesIn } from "./sockets/socket_image.ts";
import { type Store, StoreError } from "./store/store.ts";

/** What `recover` found in the store. */
export interface Recovered {
  /** Connections that sleep now and wake when they are spoken to. */
  readonly connections: number;
  /** Images that could not be used. */
  readonly damaged: number;
  /**
   * Connections of a local address that the host does not have. They sleep on, in the store too, without
   * their timers: should `setRoutes` bring the address back, they wake like all others.
   */
  readonly unreachable: number;
}

/**
 * Enters every connection that a store holds into a stack that knows none of them yet. Of two images of one
 * connection the later is in force, and the older is removed. Most are entered by the summaries that they were
 * stored with: that their image is damaged is then found when they wake.
 */
export function recoverConnections(
  store: Store,
  stack: Stack,
  timers: SleepTimers,
  nowMs: number,
  journal: Journal,
  firewall: FirewallKeeper,
): { recovered: Recovered; errors: unknown[]; redated: Promise<void> | undefined } {
  const stale: number[] = [];
  const behind: number[] = []; // images from before the clock was set back
  const errors: unknown[] = [];
  let example = "";
  let connections = 0;
  let damaged = 0;
  let unreachable = 0;
  const take = (location: number, originOf: () => number, { tcb }: FrozenSocket): void => {
    const isLater = (known: number): boolean => originOf() > store.originOf(known);
    const { record, deadlineMs, staleLocation } = stack.sleepers.adopt(tcb, location, nowMs, isLater);
    if (record < 0) {
      throw new Error(`Cannot adopt the connection at ${location}: it is awake, or there is no room`);
    }
    if (staleLocation === location) return void stale.push(location);
    const reachable = stack.isOurs(stack.connections.get(record, Field.localAddress));
    if (staleLocation >= 0) stale.push(staleLocation);
    else if (reachable) connections++;
    else if (unreachable++ === 0) example = stack.idOf(record);
    if (deadlineMs < Infinity && reachable) timers.set(record, deadlineMs);
    else timers.clear(record);
    if (tcb[0] > nowMs) behind.push(location);
  };
  const attempt = (act: () => void): void => {
    try {
      act();
    } catch (error) {
      // The disk refuses: perhaps not the next time. Going on without these would reset whoever they are.
      if (error instanceof StoreError && error.cause !== undefined) throw error;
      damaged++;
      errors.push(error);
    }
  };
  // A durable connection that was awake may have what it has queued in records of their own, wherever they lie.
  const composed: { location: number; originOf: () => number; stretches: number[] }[] = [];
  const read = (location: number, bytes: Uint8Array, originOf: () => number): FrozenTcb | undefined => {
    let isComposed = false;
    const elsewhere = (): never => {
      isComposed = true;
      throw new Error("Its stretches are not known yet");
    };
    let socket: FrozenSocket;
    try {
      socket = readSocketImage(bytes, elsewhere);
    } catch (error) {
      if (isComposed) composed.push({ location, originOf, stretches: stretchesIn(bytes) });
      else if (!journal.found(bytes, location) && !firewall.found(bytes, location)) {
        damaged++;
        errors.push(error);
      }
      return undefined;
    }
    attempt(() => take(location, originOf, socket));
    return socket.tcb;
  };
  const summary = new Int32Array(SUMMARY_WORDS);
  stack.connections.reserve(store.stats.recordsLive);
  store.recall({
    summaries(count, locations, words) {
      const { sleepers } = stack;
      const { left, deadlines, unreachable: strays } = sleepers.adoptSummaries(
        count,
        locations,
        words,
        nowMs,
      );
      connections += count - left.length - strays.length;
      if (strays.length > 0 && unreachable === 0) example = stack.idOf(strays[0]!);
      unreachable += strays.length;
      for (let at = 0; at < deadlines.length; at += 2) timers.set(deadlines[at]!, deadlines[at + 1]!);
      for (const at of left) {
        const location = locations[at]!;
        attempt(() => void read(location, store.read(location), () => store.originOf(location)));
      }
    },
    record({ location, bytes, origin }) {
      const frozen = read(location, bytes, () => origin);
      if (frozen === undefined) return undefined;
      summarize(frozen, summary);
      return summary;
    },
  });
  const imageAt = (location: number): FrozenSocket =>
    readSocketImage(store.read(location), (number) => journal.stretch(number));
  for (const { location, originOf } of composed) attempt(() => take(location, originOf, imageAt(location)));
  let redated: Promise<void> | undefined;
  let replaced: ReadonlySet<number> = new Set(); // and its stretches are in the other
  if (behind.length > 0) {
    const old = new Set(stale);
    const inForce = behind.filter((location) => !old.has(location));
    const { replaced: theirs, durable, error } = redateImages(store, stack, timers, nowMs, inForce, imageAt);
    if (error !== undefined) errors.push(error);
    replaced = theirs;
    redated = durable;
  }
  const inForce = composed.filter(({ location }) => !stale.includes(location) && !replaced.has(location));
  journal.keepOnly(new Set(inForce.flatMap(({ stretches }) => stretches)));
  try {
    if (stale.length > 0) store.remove(stale);
  } catch (error) {
    errors.push(error); // they are older than what is in force, and go when the disk lets them
    journal.discard(stale);
  }
  if (unreachable > 0) {
    const what = `${unreachable} sleeping connections are of addresses that this host does not have`;
    errors.push(new Error(`${what}: nobody can reach them (${example} is one)`));
  }
  return { recovered: { connections, damaged, unreachable }, errors, redated };
}
