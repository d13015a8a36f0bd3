import { parseArgs } from "node:util";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { completeConfig } from "../../net/tcp/config.ts";
import { UsageError } from "../command.ts";
import { type Condition, parseCondition } from "./condition.ts";

/** What `torpor replay` was asked to do. */
export interface ReplayOptions {
  readonly file: string;
  readonly info: boolean;
  readonly print: boolean;
  readonly all: boolean;
  readonly json: boolean;
  readonly step: boolean;
  /** Steps after which to stop. */
  readonly steps: number;
  readonly until: Condition | undefined;
  readonly pcapng: string | undefined;
  readonly tcp: Partial<TcpConfig>;
  /** Whose place the stack takes, for captures. */
  readonly asHost: readonly string[];
  readonly record: string | undefined;
}

/** @throws {UsageError} {TypeError} When the command line is not understood. */
export function parseReplayOptions(args: string[]): ReplayOptions {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      info: { type: "boolean", default: false },
      print: { type: "boolean", default: false },
      all: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      step: { type: "boolean", default: false },
      steps: { type: "string" },
      until: { type: "string" },
      pcapng: { type: "string" },
      tcp: { type: "string", multiple: true, default: [] },
      "as-host": { type: "string", multiple: true, default: [] },
      record: { type: "string" },
    },
  });
  const [file, ...more] = positionals;
  if (file === undefined) throw new UsageError("which file?");
  if (more.length > 0) throw new UsageError(`one file at a time, not also "${more[0]}"`);
  const { info, all, json, step, pcapng, record } = values;
  return {
    ...{ file, info, all, json, step, pcapng, record },
    print: values.print || all || step,
    steps: values.steps === undefined ? Infinity : count(values.steps),
    until: values.until === undefined ? undefined : parseCondition(values.until),
    tcp: Object.fromEntries(values.tcp.map(setting)),
    asHost: values["as-host"],
  };
}

function count(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new UsageError(`--steps ${text}: need a number of steps`);
}

/** `sack=false`: a constant of TcpConfig and its value. */
function setting(text: string): [string, unknown] {
  const at = text.indexOf("=");
  const name = text.slice(0, at);
  const usual = (completeConfig(undefined) as unknown as Record<string, unknown>)[name];
  if (at <= 0 || usual === undefined) {
    throw new UsageError(`--tcp ${text}: need NAME=VALUE, a name of TcpConfig`);
  }
  const word = text.slice(at + 1);
  const value = typeof usual === "number"
    ? Number(word)
    : typeof usual === "boolean"
    ? word === "true"
    : word;
  const wrong = typeof usual === "boolean" ? word !== "true" && word !== "false" : Number.isNaN(value);
  if (wrong) throw new UsageError(`--tcp ${text}: ${name} is a ${typeof usual}, as in ${name}=${usual}`);
  return [name, value];
}
