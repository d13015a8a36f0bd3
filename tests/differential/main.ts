import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fuzzKernel } from "./fuzz_kernel.ts";
import { HELP, readOptions } from "./options.ts";
import { differentialPage, PAGE_PATH, RECORD_PATH } from "./page.ts";
import { type FuzzReport, showReport } from "./report.ts";

const EXIT = { explained: 0, unexplained: 1, usage: 64 } as const;

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options === "help") {
    console.log(HELP);
    return EXIT.explained;
  }
  if ("wrong" in options) {
    console.error(`${options.wrong}\n\n${HELP}`);
    return EXIT.usage;
  }
  const recordFile = fileURLToPath(RECORD_PATH);
  if (options.page) {
    const record = JSON.parse(readFileSync(recordFile, "utf8")) as FuzzReport;
    writeFileSync(fileURLToPath(PAGE_PATH), differentialPage(record));
    return EXIT.explained;
  }
  const report = await fuzzKernel(options);
  console.log(options.json ? JSON.stringify(report) : showReport(report));
  if (options.record) writeFileSync(recordFile, `${JSON.stringify(report, undefined, 2)}\n`);
  return report.unexplained === 0 ? EXIT.explained : EXIT.unexplained;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130)); // the namespace goes, too
process.exitCode = await main(process.argv.slice(2));
