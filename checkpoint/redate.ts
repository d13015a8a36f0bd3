import { Field } from "../net/connections/connection_map.ts";
import type { Stack } from "../net/stack.ts";
import type { FrozenTcb } from "../net/tcp/frozen_tcb.ts";
import type { SleepTimers } from "../net/wake/sleep_timers.ts";
import { summarize, SUMMARY_WORDS } from "../net/wake/summary.ts";
import { redated } from "../net/wake/taken_over.ts";
import { type FrozenSocket, writeSocketImage } from "./sockets/socket_image.ts";
import { RECORD_BYTES_MAX, type Store } from "./store/store.ts";

/** Images of one append, and their bytes: all of them lie in memory. */
const BATCH_MAX = 1_024;
const BATCH_BYTES_MAX = 4 << 20;

/** What became of images that are later than the clock. */
export interface Redated {
  /** Where those lay that others have replaced. */
  readonly replaced: ReadonlySet<number>;
  /** Settles when the others are durable: until then nothing may be said that they do not know. */
  readonly durable: Promise<void>;
  /** Why the rest stay as they were. */
  readonly error: unknown;
}

/**
 * Replaces images that were made later than the clock now says, since it was set back: a connection's timestamps rise
 * by a clock that has been, and only who knows of that can tell by how much (net/wake/taken_over.ts).
 *
 * @param locations Of images of connections that sleep.
 */
export function redateImages(
  store: Store,
  stack: Stack,
  timers: SleepTimers,
  nowMs: number,
  locations: readonly number[],
  read: (location: number) => FrozenSocket,
): Redated {
  const replaced = new Set<number>();
  const commits: Promise<void>[] = [];
  const append = (batch: readonly { tcb: FrozenTcb; image: Uint8Array; location: number }[]): void => {
    const summaries = new Int32Array(SUMMARY_WORDS * batch.length);
    batch.forEach(({ tcb }, at) => summarize(tcb, summaries, SUMMARY_WORDS * at));
    const supersedes = batch.map(({ location }) => location);
    const commit = store.append(batch.map(({ image }) => image), { supersedes, summaries });
    commits.push(commit.durable);
    for (const [at, { tcb, location }] of batch.entries()) {
      replaced.add(location);
      const { record, deadlineMs } = stack.sleepers.adopt(
        tcb,
        commit.locations[at]!,
        nowMs,
        () => true,
        true,
      );
      const reachable = stack.isOurs(stack.connections.get(record, Field.localAddress));
      if (deadlineMs < Infinity && reachable) timers.set(record, deadlineMs);
      else timers.clear(record);
    }
  };
  let error: unknown;
  try {
    let batch: { tcb: FrozenTcb; image: Uint8Array; location: number }[] = [];
    let bytes = 0;
    for (const location of locations) {
      const { tcb, attachment } = read(location);
      const now = redated(tcb, nowMs);
      const image = writeSocketImage(now, attachment);
      if (image.length > RECORD_BYTES_MAX) continue;
      batch.push({ tcb: now, image, location });
      bytes += image.length;
      if (batch.length < BATCH_MAX && bytes < BATCH_BYTES_MAX) continue;
      append(batch);
      batch = [];
      bytes = 0;
    }
    if (batch.length > 0) append(batch);
  } catch (refusal) {
    error = refusal; // as long as the clock is not set back again, these do as well
  }
  return { replaced, durable: Promise.all(commits).then(() => {}), error };
}
