import type { Alarm, Clock } from "../../../base/clock.ts";

/** RFC 8305 section 5: how long one address may keep the next from being tried. */
export const ATTEMPT_DELAY_MS = 250;
/** Addresses of one name that are tried. */
export const ADDRESSES_MAX = 16;

/**
 * The first of several addresses that answers (RFC 8305, "happy eyeballs"): each has a head start on the next,
 * and who fails lets the next begin at once. The others are called off.
 *
 * @param open Tries one; ends when its signal says so.
 * @param discard Gets what came after somebody else had won.
 * @throws What the first address has failed with, when all have; or the signal's reason.
 */
export function openFirst<T>(
  clock: Clock,
  addresses: readonly string[],
  delayMs: number,
  signal: AbortSignal | undefined,
  open: (address: string, signal: AbortSignal) => Promise<T>,
  discard: (late: T) => void,
): Promise<T> {
  const rest = addresses.slice(0, ADDRESSES_MAX);
  const errors: unknown[] = [];
  const others = new AbortController();
  let alarm: Alarm | undefined;
  let running = 0;
  let settled = false;
  return new Promise<T>((resolve, reject) => {
    const finish = (settle: () => void): void => {
      if (settled) return;
      settled = true;
      alarm?.cancel();
      signal?.removeEventListener("abort", aborted);
      settle();
      others.abort(new Error("Another address has answered"));
    };
    const aborted = (): void => finish(() => reject(signal!.reason));
    const next = (): void => {
      alarm?.cancel();
      alarm = undefined;
      const address = rest.shift();
      if (settled || address === undefined) return;
      const order = addresses.indexOf(address);
      running++;
      open(address, others.signal).then(
        (opened) => settled ? discard(opened) : finish(() => resolve(opened)),
        (error) => {
          running--;
          errors[order] = error;
          if (rest.length > 0) next();
          else if (running === 0) finish(() => reject(errors.find((each) => each !== undefined)));
        },
      );
      if (rest.length > 0) alarm = clock.at(clock.nowMs() + delayMs, next);
    };
    if (signal?.aborted) return aborted();
    signal?.addEventListener("abort", aborted, { once: true });
    next();
  });
}
