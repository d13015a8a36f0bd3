import { parseArgs } from "node:util";

/** What the command was asked to do. */
export interface Options {
  connections: number;
  seed: number;
  tun: boolean;
  json: boolean;
  keep: boolean;
  canary: boolean;
  help: boolean;
}

/** Awake they take about 2 kB on each side: 4 GB together. */
const CONNECTIONS_MAX = 1_000_000;
/** A message's seed is made of it, the connection and the round, and must stay a safe integer. */
const SEED_MAX = 0xffff;

export const HELP = `\
Opens connections to a server, lets them sleep, kills the server with kill -9, starts it again, and checks
every byte of what they say afterwards. Exits with 1 when one connection broke.

  npm start -- [options]

  --connections N  how many (default 10000)
  --tun            clients are the Linux kernel's own sockets, in a network namespace that is made for
                   them and removed at the end; needs root and /dev/net/tun
  --seed N         what is said (default 1)
  --keep           do not delete the temporary folder with the images
  --canary         damage one image while the server is dead: the checks must notice, and the exit code be 1
  --json           print the results as JSON; the account goes to standard error
  --help           print this`;

/** @throws {Error} When the command line is not understood. */
export function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      connections: { type: "string", default: "10000" },
      seed: { type: "string", default: "1" },
      tun: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      canary: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { tun, json, keep, canary, help } = values;
  return {
    connections: whole("connections", values.connections, 1, CONNECTIONS_MAX),
    seed: whole("seed", values.seed, 0, SEED_MAX),
    ...{ tun, json, keep, canary, help },
  };
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (text !== "" && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Error(`--${name} ${text}: need a whole number from ${least} to ${most}`);
}
