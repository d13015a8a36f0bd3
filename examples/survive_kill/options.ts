import { parseArgs } from "node:util";
import process from "node:process";

/** What the command was asked to do. */
export interface Options {
  connections: number;
  seed: number;
  tun: boolean;
  json: boolean;
  keep: boolean;
  help: boolean;
}

/** A subnet of 65,536 server addresses; the kernel's clients may need a file descriptor each. */
const CONNECTIONS_MAX = 1_000_000;

export const HELP = `\
Opens connections to a server, lets them sleep, kills the server with kill -9, starts it again, and checks
every byte of what they say afterwards. Exits with 1 when one connection broke.

  npm start -- [options]

  --connections N  how many (default 10000)
  --tun            clients are the Linux kernel's own sockets, in a network namespace that is made for
                   them and removed at the end; needs root and /dev/net/tun
  --seed N         what is said (default 1)
  --keep           do not delete the temporary folder with the images
  --json           print the results as JSON; the account goes to standard error
  --help           print this`;

/** Reads the command line; prints what is wrong with it and exits with 2. */
export function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: {
        connections: { type: "string", default: "10000" },
        seed: { type: "string", default: "1" },
        tun: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        keep: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    const { tun, json, keep, help } = values;
    return {
      connections: whole("connections", values.connections, 1, CONNECTIONS_MAX),
      seed: whole("seed", values.seed, 0, 0xffff),
      ...{ tun, json, keep, help },
    };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    process.exit(2);
  }
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Error(`--${name} ${text}: need a whole number from ${least} to ${most}`);
}
