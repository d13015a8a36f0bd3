import type { Command, Terminal } from "./command.ts";
import { explain } from "./commands/explain.ts";
import { archive } from "./commands/archive.ts";
import { criu } from "./commands/criu.ts";
import { doctor } from "./commands/doctor.ts";
import { handover } from "./commands/handover.ts";
import { replay } from "./commands/replay.ts";
import { store } from "./commands/store.ts";
import { unarchive } from "./commands/unarchive.ts";
import { dispatch, listed } from "./dispatch.ts";

const COMMANDS: readonly Command[] = [
  ...[doctor, store, archive, unarchive, handover],
  ...[replay, explain, criu],
];

const HELP = `torpor: connections that sleep, and what is to be done about them

  torpor COMMAND [options]

${listed(COMMANDS)}

  torpor COMMAND --help tells the rest. NO_COLOR turns colours off.
`;

/**
 * Runs the command line `args`.
 * @returns The exit code.
 */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  return await dispatch(COMMANDS, "torpor", HELP, args, terminal);
}
