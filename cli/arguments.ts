import { parseArgs, type ParseArgsConfig } from "node:util";
import { Prng } from "../base/random.ts";
import { AddressTable } from "../net/ip/address_table.ts";
import { UsageError } from "./command.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;
type WithJson<O extends Options> = {
  args: string[];
  options: O & { json: { type: "boolean"; default: false } };
  allowPositionals: true;
};

/** The arguments of a command: its own options, positionals, and `--json`, which is told by `json`. */
export function readArguments<const O extends Options = Record<never, never>>(
  args: string[],
  options: O = {} as O,
): ReturnType<typeof parseArgs<WithJson<O>>> & { json: boolean } {
  const parsed = parseArgs<WithJson<O>>({
    args,
    options: { ...options, json: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  return { ...parsed, json: (parsed.values as { json: boolean }).json };
}

/** An option that is a whole number between two others. */
export function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new UsageError(`--${option}: "${text}" is no whole number from ${least} to ${most}`);
}

/** An option that is an address, as connections are named by it: `2001:DB8::0:1` is `2001:db8::1`. */
export function addressOf(option: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const table = new AddressTable({ entropy: new Prng(1) }); // nothing is kept in it
  const address = table.parse(text);
  if (address === undefined) throw new UsageError(`--${option}: "${text}" is no address`);
  return table.format(address);
}

/** `--port`. */
export function portOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : wholeNumber("port", text, 1, 65_535);
}
