import { expect } from "vitest";
import { fuzzKernel } from "../differential/fuzz_kernel.ts";
import { showReport } from "../differential/report.ts";
import { judge } from "../support/judge.ts";
import { drawSeed } from "../support/seed.ts";

const OPTIONS = { scenarios: [], plans: [], json: false, record: false, page: false };

for (const seed of new Set([1, drawSeed("DIFFERENTIAL_SEED", 2 ** 31)])) {
  judge(
    `seed ${seed}: the kernel and our stack, awake and asleep, answer the same segments alike, or it is known why not`,
    ["root", "tun", "ip"],
    async () => {
      const report = await fuzzKernel({ ...OPTIONS, seed, segments: 4_000, asleep: true });
      console.log(showReport(report));
      expect(report.segments).toBeGreaterThanOrEqual(4_000);
      expect(report.unexplained, showReport(report)).toBe(0);
    },
    240_000,
  );
}
