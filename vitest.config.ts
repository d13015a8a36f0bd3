import { availableParallelism } from "node:os";
import process from "node:process";
import { defineConfig } from "vitest/config";

const otherRuntime = process.versions["deno"] !== undefined || process.versions["bun"] !== undefined;

/**
 * What runs on Node only. Kernel, package and examples start programs on each runtime themselves; the rest is about what the
 * core does, which does no I/O and has no clock: that it does the same everywhere, tests/checkpoint/replay shows bit for bit.
 */
const ONCE = [
  ...["kernel", "packaging", "examples", "bench"],
  ...["conformance", "coverage", "differential", "fuzz", "packetdrill", "properties", "sim", "soak"],
].map((folder) => `tests/${folder}/**`);
/** The same of single files: the first starts the programs itself, the others are long and have no I/O. */
const FILES_ONCE = [
  "checkpoint/replay/runtimes",
  ...["checkpoint/budget", "checkpoint/disk_faults", "checkpoint/durable", "checkpoint/naps"],
  ...["checkpoint/store/faults", "firewall/grammar", "net/stack/recovery", "net/stack/transfer"],
  ...[
    "net/tcp/buffers",
    "net/tcp/throughput",
    "net/wake/summary",
    "net/wake/twin",
    "net/wire/fuzz",
    "net/wire/ipv6_fuzz",
  ],
].map((file) => `tests/${file}.test.ts`);

/**
 * Tests of what has no I/O and leaves nothing behind that the next file could find: a process runs many of these files,
 * one after the other. To load the same modules anew for each of them took longer than most of them take. What counts
 * a process's buffers stays apart.
 */
const TOGETHER = [
  "base/!(packet_memory|ring)",
  "firewall/**/*",
  "net/{connections,dhcp,firewall,ip,udp,wake,wire}/**/*",
  "net/tcp/congestion/*",
  "net/tcp/!(buffers|throughput|train)",
].map((files) => `tests/${files}.test.ts`);

/** What holds for both kinds; how many workers there are is for the run to say. */
const EACH = {
  exclude: ["node_modules/**", ...(otherRuntime ? [...ONCE, ...FILES_ONCE] : [])],
  // Far above what any test takes: a busy machine must not fail a test.
  testTimeout: 60_000,
  hookTimeout: 60_000,
  pool: "forks" as const,
};

export default defineConfig({
  test: {
    ...EACH,
    projects: [
      {
        test: {
          ...EACH,
          name: "apart",
          include: ["tests/**/*.test.ts"],
          exclude: [...EACH.exclude, ...TOGETHER],
        },
      },
      { test: { ...EACH, name: "together", include: TOGETHER, isolate: false } },
    ],
    // One more than there are cores: much of what tests do is to wait for timers and for other processes.
    maxWorkers: availableParallelism() + 1,
    coverage: {
      provider: "v8",
      include: ["base/**/*.ts", "net/**/*.ts", "checkpoint/**/*.ts", "patching/**/*.ts", "serve/**/*.ts"],
      exclude: ["tests/**"], // which have folders of the same names
      reporter: ["text-summary", "html", "json"],
      reportOnFailure: true,
    },
  },
});
