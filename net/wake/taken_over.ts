import { type FrozenTcb, frozenTcbFields } from "../tcp/frozen_tcb.ts";

/**
 * How far the timestamps of a connection jump ahead when a later process takes it over. What an earlier one answered
 * for it, and when, died with that; a clock that has been set back meanwhile, by less than this, must not make them
 * run backward (RFC 7323 section 5): a peer would take nothing any more. A jump ahead it takes.
 */
export const TAKEN_OVER_MS = 86_400_000;

const TS_OFFSET = frozenTcbFields.indexOf("tsOffset") as 20;

/**
 * The timestamp offset of a connection that a later process takes over at `nowMs`. A clock that is not a day behind the
 * image makes no difference to it: another process may take over from the same image, since this one need not have
 * written any, and later by the same clock must be later by the timestamps.
 */
export function offsetTakenOver(frozen: FrozenTcb, nowMs: number): number {
  const behindMs = frozen[0] - Math.floor(nowMs);
  return (frozen[TS_OFFSET] + TAKEN_OVER_MS + (behindMs < TAKEN_OVER_MS ? 0 : behindMs)) | 0;
}

/**
 * The same connection, frozen now, by a clock that was set back to before its image. Its timestamps go on from there,
 * and a day ahead: another process may have answered from that image before the clock was set. Once this is in the
 * store, later processes know of it.
 */
export function redated(frozen: FrozenTcb, nowMs: number): FrozenTcb {
  const atMs = Math.floor(nowMs);
  const now = [...frozen] as unknown as { -readonly [place in keyof FrozenTcb]: FrozenTcb[place] };
  now[0] = atMs;
  now[TS_OFFSET] = (frozen[TS_OFFSET] + frozen[0] - atMs + TAKEN_OVER_MS) >>> 0;
  return now;
}
