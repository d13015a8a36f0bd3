import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { launched } from "./appliance/launched.ts";
import { memory } from "./appliance/memory.ts";
import { merged } from "./appliance/merged.ts";
import { has } from "./appliance/shell.ts";
import { sizes } from "./appliance/sizes.ts";
import { debianTrees, smallTrees, writeServices } from "./appliance/trees.ts";
import type { Bench } from "./bench.ts";

/**
 * Differentials of Debian trees beside casync, OSTree and zstd; both services in one tree, judged, and launched on our
 * stack; with --full also what trees of 1, 4 and 10 GB take of memory, for which there must be 25 GB of disk. Trees that an
 * earlier run made are taken from TORPOR_BENCH_TREES.
 */
export const bench: Bench = {
  takes: "4 minutes; with --full 20, and 25 GB of disk",
  async *run({ quick, full }) {
    if (!quick && (process.getuid?.() !== 0 || !has("debootstrap"))) {
      throw new Error(
        "Needs root and debootstrap, and Debian's mirror; --quick makes small trees of its own",
      );
    }
    const folder = mkdtempSync(join(tmpdir(), "torpor-bench-appliance-"));
    try {
      if (quick) smallTrees(folder);
      else debianTrees(folder, process.env["TORPOR_BENCH_TREES"]);
      writeServices(folder);
      yield sizes(folder, quick, full);
      yield merged(folder, quick);
      if (!quick) yield launched(folder);
      if (full) yield memory(folder, [1, 4, 10]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
