import process from "node:process";
import { HELP, readOptions } from "./options.ts";
import { Soak, type SoakReport } from "./soak.ts";

const EXIT = { well: 0, failed: 1, usage: 64 } as const;

function showReport(report: SoakReport): string {
  const { growth, clients, server, failures, leaks } = report;
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  return [
    `seed ${report.seed}: ${report.minutes} minutes, ${report.kills} kills, ${report.asleepAtKills} connections asleep at them`,
    `clients: ${JSON.stringify(clients)}`,
    `server: ${JSON.stringify({ ...server, wrong: undefined })}`,
    `growth over ${growth.minutes.toFixed(1)} minutes and ${growth.samples} samples: ` +
    `live ${megabytes(growth.liveBytes)}, resident ${megabytes(growth.rssBytes)}`,
    ...failures.slice(0, 20).map((failure) => `FAILED ${failure}`),
    ...leaks.map((leak) => `LEAK ${leak}`),
    failures.length === 0 && leaks.length === 0
      ? "nothing was lost, nothing leaks"
      : `${failures.length} failures, ${leaks.length} leaks`,
  ].join("\n");
}

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options === "help") {
    console.log(HELP);
    return EXIT.well;
  }
  if ("wrong" in options) {
    console.error(`${options.wrong}\n\n${HELP}`);
    return EXIT.usage;
  }
  const report = await Soak.run(options, (line) => console.error(line));
  console.log(options.json ? JSON.stringify(report) : showReport(report));
  return report.failures.length === 0 && report.leaks.length === 0 ? EXIT.well : EXIT.failed;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130)); // the namespace goes, too
process.exitCode = await main(process.argv.slice(2));
