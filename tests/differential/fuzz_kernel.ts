import { fileURLToPath } from "node:url";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import type { FuzzOptions } from "./options.ts";
import type { FuzzReport } from "./report.ts";

const INSIDE = fileURLToPath(new URL("./inside.ts", import.meta.url));

/**
 * Runs the comparison in a network namespace of its own, which is gone afterwards.
 * @throws {Error} When the run ends without a report.
 */
export async function fuzzKernel(options: FuzzOptions): Promise<FuzzReport> {
  using netns = new NetworkNamespace();
  const [program, ...args] = RUN_ON.node;
  const child = netns.start(program!, [...args, INSIDE, JSON.stringify(options)]);
  let text = "";
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => void (text += chunk));
  const code = await new Promise((resolve) => void child.once("close", resolve));
  if (code !== 0 || text === "") throw new Error(`The run ended with code ${code} and said "${text}"`);
  return JSON.parse(text) as FuzzReport;
}
