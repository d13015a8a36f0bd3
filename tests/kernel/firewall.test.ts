import { expect } from "vitest";
import { judge } from "../support/judge.ts";
import { drawSeed } from "../support/seed.ts";
import { compareOne } from "../firewall/kernel/differential.ts";
import { SIDES } from "../firewall/kernel/drawn.ts";
import { KernelFirewall } from "../firewall/kernel/kernel_firewall.ts";

const SEED = drawSeed("FIREWALL_SEED", 1_000_000);
/** `npm run firewall:kernel` compares thousands. */
const RUNS = 40;

judge(
  `the kernel counts, spends and learns on drawn rules as we do (FIREWALL_SEED=${SEED})`,
  ["root", "tun", "ip", "nft", "python3"],
  async () => {
    using kernel = await KernelFirewall.start();
    for (let run = 0; run < RUNS; run++) {
      const side = SIDES[(SEED + run) % 2]!;
      const outcome = await compareOne(SEED + run, kernel, side);
      if (outcome.kind === "drawn") continue;
      expect(outcome, `npm run firewall:kernel -- --seed ${SEED + run} --runs 1`).toEqual({ kind: "same" });
    }
  },
);
