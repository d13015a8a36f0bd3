import { UsageError } from "../command.ts";

/**
 * An address for each of `count` services: those that were given, and behind a single one of IPv4 the next ones.
 * @throws {UsageError} When they are not enough, or the next ones would leave the network.
 */
export function addressesFor(given: readonly string[], count: number): string[] {
  if (given.length >= count) return given.slice(0, count);
  const [first, more] = given;
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(first ?? "");
  if (more !== undefined || match === null) {
    throw new UsageError(
      `--address: ${count} services, ${given.length} addresses; give one A.B.C.D/PREFIX or all`,
    );
  }
  const [a, b, c, d, prefix] = match.slice(1).map(Number) as [number, number, number, number, number];
  const start = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
  const size = 2 ** (32 - prefix);
  if ((start % size) + count >= size) {
    throw new UsageError(`--address: ${count} services do not fit behind ${first}`);
  }
  return Array.from({ length: count }, (_, index) => {
    const address = start + index;
    return `${[24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".")}/${prefix}`;
  });
}
