import { fileURLToPath } from "node:url";
import { defineConfig, mergeConfig } from "vitest/config";
import all from "../../vitest.config.ts";

/**
 * Tests whose subject runs in programs of their own, where this process counts nothing, or is no code of the areas measured:
 * they take most of the time and add no line.
 */
const ELSEWHERE = ["kernel", "packaging", "examples", "bench", "conformance", "coverage", "soak"];

export default mergeConfig(
  all,
  defineConfig({
    test: {
      root: fileURLToPath(new URL("../..", import.meta.url)),
      exclude: [
        ...ELSEWHERE.map((folder) => `tests/${folder}/**`),
        "tests/docs.test.ts",
        "tests/imports.test.ts",
      ],
    },
  }),
);
