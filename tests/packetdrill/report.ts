import { ScriptFailure } from "./failure.ts";
import { parseScript } from "./parse.ts";
import { runScript } from "./runner.ts";
import { type IpVersion, ScriptSyntaxError, Unsupported } from "./script.ts";

export type Verdict = "passed" | "failed" | "unsupported";

/** How one script fared over one IP version. */
export interface Outcome {
  readonly path: string;
  readonly ip: IpVersion;
  readonly verdict: Verdict;
  readonly line: number | undefined;
  /** As packetdrill prints it, without file and line. */
  readonly message: string;
  /** How often its connections slept. */
  readonly sleeps: number;
}

export interface JudgeOptions {
  readonly ip: IpVersion;
  readonly strict: boolean;
  readonly sleep: boolean;
  /** Options for every script, as `--mtu=1400`. */
  readonly flags: readonly string[];
  readonly log?: (line: string) => void;
}

/** Reads and runs one script; whatever goes wrong is in the outcome. `undefined`: it is not for this IP version. */
export function judge(path: string, text: string, options: JudgeOptions): Outcome | undefined {
  const { ip } = options;
  const outcome = (verdict: Verdict, line: number | undefined, message: string, sleeps = 0): Outcome => {
    return { path, ip, verdict, line, message, sleeps };
  };
  try {
    const script = parseScript(path, text, options.flags, ip);
    if (!isFor(path, script.options.ipVersion, ip)) return undefined;
    const { sleeps } = runScript(script, options);
    return outcome("passed", undefined, "", sleeps);
  } catch (error) {
    if (error instanceof Unsupported) return outcome("unsupported", error.line, error.message);
    if (error instanceof ScriptFailure) return outcome("failed", error.line, error.message);
    if (error instanceof ScriptSyntaxError) {
      return outcome("failed", error.line, `syntax error: ${error.message}`);
    }
    throw error;
  }
}

/** A script's own option, and the end of its name, say where it may run. */
function isFor(path: string, wanted: IpVersion | undefined, ip: IpVersion): boolean {
  if (wanted !== undefined) return wanted === ip;
  if (/[-_]?v4\.pkt$/.test(path)) return ip === "ipv4";
  if (/[-_]?v6\.pkt$/.test(path)) return ip === "ipv6";
  return true;
}

/** An outcome as packetdrill prints it: `FILE:LINE: error ...`. */
export function showOutcome({ path, verdict, line, message }: Outcome): string {
  const place = line === undefined ? path : `${path}:${line}`;
  return verdict === "unsupported" ? `${place}: unsupported: ${message}` : `${place}: ${message}`;
}

/** Counts by verdict, and why scripts are not supported, the commonest reason first. */
export function summarize(outcomes: readonly Outcome[]): string {
  const lines = ["", "ip                passed  failed  unsupported"];
  for (const ip of new Set(outcomes.map((outcome) => outcome.ip))) {
    const count = (verdict: Verdict): string =>
      `${outcomes.filter((outcome) => outcome.ip === ip && outcome.verdict === verdict).length}`;
    lines.push(
      `${ip.padEnd(16)}  ${count("passed").padStart(6)}  ${count("failed").padStart(6)}  ${
        count("unsupported").padStart(11)
      }`,
    );
  }
  const reasons = new Map<string, number>();
  for (const { verdict, message } of outcomes) {
    if (verdict === "unsupported") reasons.set(message, (reasons.get(message) ?? 0) + 1);
  }
  if (reasons.size > 0) lines.push("", "not supported");
  for (const [reason, count] of [...reasons].sort(([, a], [, b]) => b - a)) {
    lines.push(`${`${count}`.padStart(6)}  ${reason}`);
  }
  return lines.join("\n");
}
