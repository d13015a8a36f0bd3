import process from "node:process";
import { expect, test } from "vitest";
import { PieceScanner } from "../../serve/node/talk/scanner.ts";

/** Two bytes of length, and all that follows is wanted. */
const FORMAT = {
  measure: (head: readonly number[]) => head.length < 2 ? undefined : head[0]! * 256 + head[1]!,
  wanted: () => 65_535,
};

test("a piece is the same in whatever parts it comes, and its announcement takes no memory", () => {
  const payload = Uint8Array.from({ length: 3_000 }, (_, at) => at);
  for (const part of [1, 7, 1_024, 5_000]) {
    const found: Uint8Array[] = [];
    const scanner = new PieceScanner(FORMAT, (_, bytes) => void found.push(bytes.slice()));
    const stream = Uint8Array.of(11, 184, ...payload, 0, 0, 0, 1, 9);
    for (let at = 0; at < stream.length; at += part) scanner.feed(stream.subarray(at, at + part));
    expect(found).toEqual([payload, new Uint8Array(0), Uint8Array.of(9)]);
    expect(scanner.between).toBe(true);
  }
  const before = process.memoryUsage().arrayBuffers;
  const scanners = Array.from({ length: 1_000 }, () => new PieceScanner(FORMAT, () => {}));
  for (const scanner of scanners) scanner.feed(Uint8Array.of(255, 255, 1));
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000); // 65 MB, were it believed
  expect(scanners.every((scanner) => !scanner.between)).toBe(true);
});
