import type { Terminal } from "../../cli/command.ts";
import { main } from "../../cli/main.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command line in this process, with what somebody types; by default before no terminal. */
export async function torpor(
  args: readonly string[],
  typed: readonly string[] = [],
  before: Pick<Terminal, "live" | "screen"> & { color?: boolean } = {},
): Promise<Ran> {
  let out = "", err = "";
  const terminal: Terminal = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    color: false,
    lines: async function* () {
      yield* typed;
    },
    ...before,
  };
  const code = await main(args, terminal);
  return { code, out, err };
}
