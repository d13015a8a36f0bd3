import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { judge, type Outcome, showOutcome, summarize } from "./report.ts";
import { type IpVersion, ipVersions } from "./script.ts";

const HELP = `usage: npm run packetdrill -- [options] FILES|FOLDERS...

Runs packetdrill scripts against a stack of ours, in virtual time. Shell commands and code in scripts are
interpreted, never executed. An element that is not known here makes its script "unsupported", which is not
"passed".

  --strict         packets that the script does not expect are errors, behind its last expectation too
  --sleep          the connection is suspended into an image and restored at every quiet point
  --ip VERSION     ipv4 (default), ipv6, ipv4-mapped-ipv6, or all
  --verbose        print every packet
  --json           print one line of JSON for each script, and no summary
  --quiet          print the summary only
  --sysctl=N=V     a setting of the kernel that the scripts were written for: --sysctl=net.ipv4.tcp_sack=0
  --OPTION=VALUE   any option of packetdrill, for every script: --mtu=1400, --define=A=B, --tolerance_usecs=100
  --help           this text

exit code: 0 all passed, 1 some failed, 2 none failed and some are unsupported, 64 wrong usage
`;

const EXIT = { passed: 0, failed: 1, unsupported: 2, usage: 64 } as const;

interface Arguments {
  strict: boolean;
  sleep: boolean;
  verbose: boolean;
  json: boolean;
  quiet: boolean;
  ips: readonly IpVersion[];
  readonly flags: string[];
  readonly paths: string[];
}

function readArguments(args: readonly string[]): Arguments | string {
  const found: Arguments = {
    strict: false,
    sleep: false,
    verbose: false,
    json: false,
    quiet: false,
    ips: ["ipv4"],
    flags: [],
    paths: [],
  };
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    const name = arg.slice(2);
    if (name === "strict" || name === "sleep" || name === "verbose" || name === "json" || name === "quiet") {
      found[name] = true;
    } else if (arg === "--ip" || arg.startsWith("--ip=")) {
      const value = arg === "--ip" ? args[++at] : arg.slice("--ip=".length);
      if (value === "all") found.ips = ipVersions;
      else if (ipVersions.includes(value as IpVersion)) found.ips = [value as IpVersion];
      else return `Unknown IP version "${value}"`;
    } else if (arg.startsWith("--")) {
      found.flags.push(arg);
    } else {
      found.paths.push(arg);
    }
  }
  return found.paths.length === 0 ? "Need scripts, or folders of them" : found;
}

/** The scripts under a path, in order. */
function scriptsUnder(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true }).sort((a, b) => a.name < b.name ? -1 : 1).flatMap(
    (entry) => {
      const inside = join(path, entry.name);
      if (entry.isDirectory()) return scriptsUnder(inside);
      return entry.name.endsWith(".pkt") ? [inside] : [];
    },
  );
}

function main(args: readonly string[]): number {
  if (args.includes("--help")) {
    console.log(HELP);
    return EXIT.passed;
  }
  const found = readArguments(args);
  if (typeof found === "string") {
    console.error(`${found}\n\n${HELP}`);
    return EXIT.usage;
  }
  const outcomes: Outcome[] = [];
  for (const path of found.paths.flatMap(scriptsUnder)) {
    const text = readFileSync(path, "utf8");
    for (const ip of found.ips) {
      const outcome = judge(path, text, {
        ip,
        strict: found.strict,
        sleep: found.sleep,
        flags: found.flags,
        ...(found.verbose ? { log: (line: string) => console.log(line) } : {}),
      });
      if (outcome === undefined) continue;
      outcomes.push(outcome);
      if (found.json) console.log(JSON.stringify(outcome));
      else if (outcome.verdict !== "passed" && !found.quiet) console.log(showOutcome(outcome));
    }
  }
  if (!found.json) console.log(summarize(outcomes));
  if (outcomes.some(({ verdict }) => verdict === "failed")) return EXIT.failed;
  return outcomes.every(({ verdict }) => verdict === "passed") ? EXIT.passed : EXIT.unsupported;
}

process.exitCode = main(process.argv.slice(2));
