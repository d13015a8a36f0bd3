/**
 * Bare stacks in a process of their own, where nobody else has made the code general: asked `WORK MS` on its standard input
 * it answers with what was done, and the processor time that it took.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { tell } from "../worker.ts";
import { BareStacks } from "./bare_stacks.ts";
import type { Done, Work } from "./subject.ts";

const stacks = new BareStacks(64, { timeWaitMs: Number(process.argv[2]) });
createInterface({ input: process.stdin }).on("line", (line) => {
  const [work, ms] = line.split(" ") as [Work, string];
  const before = process.cpuUsage();
  const done = stacks.run(work, Number(ms));
  const { user, system } = process.cpuUsage(before);
  tell({ ...done, cpuMs: (user + system) / 1000 } satisfies Done);
}).on("close", () => process.exit(0));
