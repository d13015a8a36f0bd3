import process from "node:process";

/**
 * The seed of a test that lives drawn worlds: `variable` of the environment, else a new one. In CI it is always 1, so
 * that what lands is judged by its change and not by luck; campaigns look for what only luck finds.
 */
export function drawSeed(variable: string, below: number): number {
  const set = process.env[variable];
  if (set !== undefined) return Number(set);
  return process.env["CI"] ? 1 : 1 + Math.floor(Math.random() * (below - 1));
}
