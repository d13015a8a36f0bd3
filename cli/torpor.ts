#!/usr/bin/env node
import process from "node:process";
import { createInterface } from "node:readline";
import type { Terminal } from "./command.ts";
import { main } from "./main.ts";

/** Until whoever is told that their connections end has said what it has to say. */
const LEAVES_MS = 500;

const terminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  drained: () =>
    new Promise((resolve) => {
      if (process.stdout.writableNeedDrain) process.stdout.once("drain", resolve);
      else resolve();
    }),
  err: (text) => void process.stderr.write(text),
  color: process.stdout.isTTY === true && !process.env["NO_COLOR"],
  live: process.stderr.isTTY === true,
  screen: process.stdout.isTTY === true,
  lines: async function* () {
    const typed = createInterface({ input: process.stdin });
    try {
      yield* typed;
    } finally {
      typed.close();
      process.stdin.destroy(); // a terminal would keep the process
    }
  },
};

// Whoever reads our words may have read enough: `torpor replay ... | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await main(process.argv.slice(2), terminal);
// What a module that was served has left running, a broker's timers as a rule, is over with it.
if (process.argv[2] === "serve") setTimeout(() => process.exit(), LEAVES_MS).unref();
