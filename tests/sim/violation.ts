/** Something happened in a simulated world that may never happen. */
export class Violation extends Error {
  override name = "Violation";
}

/** Throws a `Violation` unless `condition` holds. The message is made only then. */
export function must(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Violation(message());
}
