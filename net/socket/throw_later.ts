/**
 * Throws `error` where nothing catches it: an application's mistake in a callback must be heard of, and
 * must not end what serves everybody else.
 */
export function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
