import type { Command, Terminal } from "./command.ts";
import { appliance } from "./commands/appliance.ts";
import { archive } from "./commands/archive.ts";
import { bench } from "./commands/bench.ts";
import { capture } from "./commands/capture.ts";
import { check } from "./commands/check.ts";
import { completions } from "./commands/completions.ts";
import { criu } from "./commands/criu.ts";
import { doctor } from "./commands/doctor.ts";
import { explain } from "./commands/explain.ts";
import { firewall } from "./commands/firewall.ts";
import { handover } from "./commands/handover.ts";
import { inspect } from "./commands/inspect.ts";
import { ls } from "./commands/ls.ts";
import { patch } from "./commands/patch.ts";
import { replay } from "./commands/replay.ts";
import { restore } from "./commands/restore.ts";
import { serve } from "./commands/serve.ts";
import { store } from "./commands/store.ts";
import { suspend } from "./commands/suspend.ts";
import { top } from "./commands/top.ts";
import { unarchive } from "./commands/unarchive.ts";
import { dispatch, listed } from "./dispatch.ts";

/** Every command, in the order in which they are listed. */
export const COMMANDS: readonly Command[] = [
  ...[doctor, serve],
  ...[ls, top, inspect, suspend, restore, capture],
  ...[store, check, archive, unarchive, handover],
  appliance,
  ...[firewall, patch, replay, explain, criu, bench, completions(() => COMMANDS)],
];

const HELP = `torpor: connections that sleep, and what is to be done about them

  torpor COMMAND [options]

${listed(COMMANDS)}

  torpor COMMAND --help tells the rest, exit codes too: 0 is done, 2 what was
  given wrongly. --json is for machines. NO_COLOR turns colours off.
`;

/**
 * Runs the command line `args`.
 * @returns The exit code.
 */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  return await dispatch(COMMANDS, "torpor", HELP, args, terminal);
}
