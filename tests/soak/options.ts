export const HELP = `usage: npm run soak -- [options]

A server of ours on a TUN interface, clients of the kernel's in a network namespace, for hours: connections come,
talk, sleep, are closed, half closed and aborted; clients stop reading; the wire loses, delays, doubles, turns bits;
the server is told to suspend everything, and is killed (kill -9) and started again. Each byte is checked on both
sides. In the end everything is closed, and what is left is a leak. Needs root, /dev/net/tun and ip.

  --hours H          how long (default 1)
  --minutes M        the same in minutes
  --connections N    at a time (default 200)
  --seed N           what is drawn; a new one each time by default
  --json             print the report as one line of JSON; progress goes to standard error
  --help             this text

The first half has the kills. The memory of the server that lives through the second half is watched: what it has
after garbage collection must not grow.

exit code: 0 nothing was lost and nothing leaks, 1 something was or does, 64 wrong usage
`;

export interface SoakOptions {
  minutes: number;
  connections: number;
  seed: number;
  json: boolean;
}

/** The options, "help", or what is wrong with them. */
export function readOptions(args: readonly string[]): SoakOptions | "help" | { readonly wrong: string } {
  const options = {
    minutes: 60,
    connections: 200,
    seed: 1 + Math.floor(Math.random() * 0x7fff_ffff),
    json: false,
  };
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    const number = (): number => Number(args[++at] ?? NaN);
    if (arg === "--help") return "help";
    if (arg === "--hours") options.minutes = 60 * number();
    else if (arg === "--minutes") options.minutes = number();
    else if (arg === "--connections") options.connections = number();
    else if (arg === "--seed") options.seed = number();
    else if (arg === "--json") options.json = true;
    else return { wrong: `Unknown option "${arg}"` };
  }
  const { minutes, connections, seed } = options;
  if (
    !(minutes > 0) || !(connections >= 2) || !Number.isSafeInteger(connections) || !Number.isSafeInteger(seed)
  ) {
    return { wrong: "Hours and minutes are above 0, connections are 2 at least, a seed is a whole number" };
  }
  return options;
}
