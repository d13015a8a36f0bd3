import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What running a script came to. */
export interface Ran {
  /** Of CPU, of all that it started. */
  readonly seconds: number;
  readonly out: string;
  /** What a process of Node in it has held at most, in MB; `undefined` when there was none. */
  readonly memoryMb: number | undefined;
}

/** Makes each process of Node say at its end how much memory it had at most, in KB. */
const TELLS_MEMORY =
  "--import=data:text/javascript,process.on('exit',()=>console.error('MAXRSS',process.resourceUsage().maxRSS))";

/** The command line of ours, on Node. */
export function torporCommand(args: string): string {
  return `${process.execPath} --import ${join(ROOT, "node_modules/tsx/dist/loader.mjs")} ${
    join(ROOT, "cli/torpor.ts")
  } ${args}`;
}

/** Runs it. */
export function torpor(folder: string, args: string): Ran {
  return timed(folder, torporCommand(args));
}

/** Runs a script. @returns The seconds of CPU that it and all that it started took. */
export function timed(folder: string, script: string): Ran {
  const { stdout, stderr, status } = spawnSync(
    "bash",
    ["-ec", `TIMEFORMAT='CPU %U %S'; time { ${script}; }`],
    {
      cwd: folder,
      encoding: "utf8",
      maxBuffer: 2 ** 28,
      env: { ...process.env, NODE_OPTIONS: TELLS_MEMORY },
    },
  );
  const match = /CPU (\S+) (\S+)\s*$/.exec(stderr);
  if (status !== 0 || match === null) throw new Error(`Failed: ${script}\n${stderr}`);
  const most = [...stderr.matchAll(/^MAXRSS (\d+)$/gm)].map(([, kilobytes]) => Number(kilobytes));
  return {
    seconds: Number(match[1]) + Number(match[2]),
    out: stdout,
    memoryMb: most.length === 0 ? undefined : Math.round(Math.max(...most) * 1_024 / 1e6),
  };
}

/** Runs a script. @returns What it prints. */
export function sh(folder: string, script: string): string {
  return execFileSync("bash", ["-ec", script], {
    cwd: folder,
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** Whether a program is installed. */
export function has(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
}

/** To a tenth. */
export function round(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}
