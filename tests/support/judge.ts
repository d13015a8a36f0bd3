import { accessSync, constants } from "node:fs";
import { execFileSync } from "node:child_process";
import process from "node:process";
import { test } from "vitest";

/** What a test needs from outside: `root`, `tun` (the device /dev/net/tun), or a program on PATH by name. */
export type Need = string;

/** The path of a program, or undefined. */
export function whichProgram(program: string): string | undefined {
  try {
    return execFileSync("sh", ["-c", 'command -v "$0"', program], { encoding: "utf8" }).trim() || undefined;
  } catch {
    return undefined;
  }
}

function missing(need: Need): string | undefined {
  if (need === "root") return process.getuid?.() === 0 ? undefined : "root";
  if (need === "tun") {
    try {
      accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
      return undefined;
    } catch {
      return "/dev/net/tun";
    }
  }
  return whichProgram(need) === undefined ? need : undefined;
}

/**
 * A test that needs an external judge, root or a device. Where one is missing the test fails when `CI`
 * is set; elsewhere it is skipped, and its name says what was missing, so skips are counted and named.
 *
 * @example
 * ```ts
 * judge("tshark reads the capture", ["tshark"], () => {});
 * ```
 */
export function judge(
  name: string,
  needs: Need | readonly Need[],
  run: () => Promise<void> | void,
  timeoutMs = 180_000, // far above what any takes: a busy machine must not fail a test
): void {
  const absent = (typeof needs === "string" ? [needs] : needs).map(missing).filter((need) =>
    need !== undefined
  );
  if (absent.length === 0) test(name, run, timeoutMs);
  else if (process.env["CI"]) {
    test(name, () => {
      throw new Error(`Needs ${absent.join(", ")}: required when CI is set`);
    });
  } else test.skip(`${name} (needs ${absent.join(", ")})`, run);
}
