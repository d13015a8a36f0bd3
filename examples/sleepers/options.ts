import process from "node:process";
import { parseArgs } from "node:util";

/** What both examples of sleeping clients understand. */
export interface Options {
  clients: number;
  json: boolean;
}

/** Reads the command line; prints help, or what is wrong with it, and ends. */
export function readOptions(name: string): Options {
  const help = `Usage: ${name} [--clients N] [--json]

  --clients N   how many there are, 20 to 1000000 (default 100000)
  --json        one line of figures at the end, and nothing else on stdout`;
  try {
    const { values } = parseArgs({
      options: { clients: { type: "string" }, json: { type: "boolean" }, help: { type: "boolean" } },
    });
    if (values.help) {
      console.log(help);
      process.exit(0);
    }
    const clients = Number(values.clients ?? 100_000);
    if (!Number.isInteger(clients) || clients < 20 || clients > 1_000_000) {
      throw new RangeError(`--clients ${values.clients}: need a whole number from 20 to 1000000`);
    }
    return { clients, json: values.json ?? false };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${help}`);
    process.exit(2);
  }
}
