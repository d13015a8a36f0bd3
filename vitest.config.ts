import { availableParallelism } from "node:os";
import process from "node:process";
import { defineConfig } from "vitest/config";

const otherRuntime = process.versions["deno"] !== undefined || process.versions["bun"] !== undefined;

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    // The tests of kernel and package start programs on each runtime themselves: once is enough.
    exclude: otherRuntime
      ? ["tests/kernel/**", "tests/packaging/**", "node_modules/**"]
      : ["node_modules/**"],
    // Far above what any test takes: a busy machine must not fail a test.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    // All cores; by default one is left to the watcher, which nobody needs here.
    maxWorkers: availableParallelism(),
    coverage: {
      provider: "v8",
      include: ["base/**/*.ts", "net/**/*.ts", "checkpoint/**/*.ts", "serve/**/*.ts"],
      exclude: ["tests/**"], // which have folders of the same names
      reporter: ["text-summary", "html", "json"],
      reportOnFailure: true,
    },
  },
});
