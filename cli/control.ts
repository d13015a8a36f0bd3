import { statSync } from "node:fs";
import process from "node:process";
import { ControlClient } from "../checkpoint/control/client.ts";
import { ControlError } from "../checkpoint/control/control_error.ts";
import { InputError, type Terminal, UsageError } from "./command.ts";

/** The host is there and says no. */
const EXIT_REFUSED = 1;

/** Exit codes of every command that asks a host. */
export const CONTROL_EXITS = `\
Exit codes: 0 done, 1 the host refused or ended (standard error says why), 2 no
host offers control there, or the command line is wrong.
`;

/** What every such command says of its first argument. */
export const CONTROL_FOLDER = `\
FOLDER is where the host offers control: host.offerControl("FOLDER/control"),
as torpor serve does. It may also be the socket itself.
`;

/**
 * Asks the host whose control socket lies in `folder`, or is that.
 * @returns What `act` returns, or 1 when the host says no.
 * @throws {InputError} When no host is there.
 */
export async function withHost(
  folder: string | undefined,
  command: string,
  terminal: Terminal,
  act: (client: ControlClient) => Promise<number | void>,
): Promise<number> {
  if (folder === undefined) throw new UsageError("which folder, or which control socket?");
  const path = statSync(folder, { throwIfNoEntry: false })?.isSocket() ? folder : `${folder}/control`;
  const client = await ControlClient.connect(path).catch((error: Error) => {
    const hint = `; "torpor store ls ${folder}" lists who sleeps in a store that nobody has open`;
    throw new InputError(`${error.message}${error instanceof ControlError ? hint : ""}`);
  });
  try {
    return await act(client) ?? 0;
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    terminal.err(`torpor ${command}: ${error.message}\n`);
    return EXIT_REFUSED;
  } finally {
    client.close();
  }
}

/** Whether somebody has asked for the end, by ^C or a signal; `ended` runs at once when that happens. */
export class UntilEnded implements Disposable {
  readonly #end: () => void;
  over = false;

  constructor(ended: () => void) {
    this.#end = () => {
      this.over = true;
      ended();
    };
    for (const signal of SIGNALS) process.on(signal, this.#end);
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.#end);
  }
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
