import type { Target } from "./target.ts";
import { targets as wire } from "./targets/wire.ts";

/** A target and the file that build.ts bundles for it. */
export interface NamedTarget {
  readonly file: string;
  readonly target: Target;
}

const files: Readonly<Record<string, readonly Target[]>> = {
  "targets/wire.ts": wire,
};

/** Everything that is fuzzed. */
export const everyTarget: readonly NamedTarget[] = Object.entries(files).flatMap(([file, targets]) =>
  targets.map((target) => ({ file, target }))
);
