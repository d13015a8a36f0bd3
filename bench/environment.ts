import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runtime } from "../base/runtime.ts";

/** Where and with what something was measured. */
export interface Environment {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly system: string;
  readonly runtime: string;
  /** Short hash, then " dirty" when the working tree differs from it; "no commit" outside of a repository. */
  readonly commit: string;
  /** What else the machine was doing: processes that ran or wanted to, over the last minute. */
  readonly load: number;
}

/** The environment now. */
export function environment(): Environment {
  const processors = cpus();
  return {
    processor: processors[0]?.model.trim() || "unknown processor",
    cores: processors.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    runtime: runtimeName(),
    commit: commitName(),
    load: loadavg()[0] ?? NaN,
  };
}

/** The environment on one line. */
export function formatEnvironment(of: Environment): string {
  const machine = `${of.processor}, ${of.cores} cores, ${of.memoryGb} GB, ${of.system}`;
  return `${machine}; ${of.runtime}; ${of.commit}; load ${of.load.toFixed(1)}`;
}

function runtimeName(): string {
  const { versions } = process;
  if (runtime === "bun") return `Bun ${versions["bun"]}`;
  if (runtime === "deno") return `Deno ${versions["deno"]}`;
  return `Node ${versions.node}`;
}

function commitName(): string {
  try {
    const hash = git("rev-parse", "--short", "HEAD");
    return git("status", "--porcelain") === "" ? hash : `${hash} dirty`;
  } catch {
    return "no commit";
  }
}

function git(...args: string[]): string {
  return execFileSync("git", ["--no-optional-locks", ...args], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}
