/** Runs what may refuse its input with an error of this class, and no other. @returns Its value, or the refusal. */
export function orRefuses<T, E extends Error>(
  refusal: abstract new (...args: never[]) => E,
  attempt: () => T,
): { value: T; error?: undefined } | { value?: undefined; error: E } {
  try {
    return { value: attempt() };
  } catch (error) {
    if (error instanceof refusal) return { error };
    throw error;
  }
}
