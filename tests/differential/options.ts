import { type Scenario, SCENARIOS } from "./draw.ts";

export const HELP = `usage: npm run fuzz:kernel -- [options]

Plays the same segments and calls to the Linux kernel of this machine, through a TUN interface in a network
namespace of its own, and to a stack of ours, and compares what both answer, acknowledge and become. Where they
differ and tests/differential/deviations does not say why, the shortest story that shows it is printed, and the
run fails. Needs root, /dev/net/tun and ip.

  --seed N           what is drawn; a new one each time by default
  --segments N       how many segments are sent to each (default 20000)
  --scenario NAME    only stories that begin there, more than once for more than one of them:
                     ${SCENARIOS.slice(0, 8).join(" ")}
                     ${SCENARIOS.slice(8).join(" ")}
  --plan N           only this story of the seed, printed whether it differs or not
  --asleep           a second stack of ours, whose connections sleep before every segment, must do the same
  --json             print the report as one line of JSON
  --record           write what was found to tests/differential/record.json
  --page             print docs/differential.md anew, and send nothing
  --help             this text

exit code: 0 every difference is explained, 1 some are not, 64 wrong usage
`;

export interface FuzzOptions {
  seed: number;
  segments: number;
  scenarios: Scenario[];
  plans: number[];
  asleep: boolean;
  json: boolean;
  record: boolean;
  page: boolean;
}

/** The options, "help", or what is wrong with them. */
export function readOptions(args: readonly string[]): FuzzOptions | "help" | { readonly wrong: string } {
  const options: FuzzOptions = {
    seed: 1 + Math.floor(Math.random() * 0x7fff_ffff),
    segments: 20_000,
    scenarios: [],
    plans: [],
    asleep: false,
    json: false,
    record: false,
    page: false,
  };
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    const number = (): number => Number(args[++at] ?? NaN);
    if (arg === "--help") return "help";
    if (arg === "--seed") options.seed = number();
    else if (arg === "--segments") options.segments = number();
    else if (arg === "--plan") options.plans.push(number());
    else if (arg === "--asleep") options.asleep = true;
    else if (arg === "--json") options.json = true;
    else if (arg === "--record") options.record = true;
    else if (arg === "--page") options.page = true;
    else if (arg === "--scenario") {
      const name = args[++at] as Scenario;
      if (!SCENARIOS.includes(name)) return { wrong: `Unknown scenario "${name}"` };
      options.scenarios.push(name);
    } else return { wrong: `Unknown option "${arg}"` };
  }
  const numbers = [options.seed, options.segments, ...options.plans];
  if (!numbers.every((each) => Number.isSafeInteger(each) && each >= 0)) {
    return { wrong: "Seed, segments and plan are whole numbers" };
  }
  return options;
}
