import { expect } from "vitest";
import { fuzzKernel } from "../differential/fuzz_kernel.ts";
import { showReport } from "../differential/report.ts";
import { judge } from "../support/judge.ts";

const OPTIONS = { scenarios: [], plans: [], json: false, record: false, page: false };

for (const seed of [1, 1 + Math.floor(Math.random() * 0x7fff_ffff)]) {
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
