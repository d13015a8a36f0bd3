import { type ChildProcess, spawn } from "node:child_process";
import { statSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { HandoverError } from "../../checkpoint/handover/handover_error.ts";
import { takeOver } from "../../checkpoint/handover/take_over.ts";
import { readArguments } from "../arguments.ts";
import { type Command, InputError, type Terminal, UsageError } from "../command.ts";

const HELP = `\
Asks the process that has a store open to put its connections to sleep and to
let go, and starts another one in its place as soon as it has: a deploy without
a reset. The old process must offer it (SleepyHost.offerHandover, with the path
FOLDER/handover); the new one just opens the store. One that calls
SleepyHost.takeOver itself needs no such command, and takes over faster: it is
loaded by then.

  torpor handover FOLDER [options] [-- COMMAND...]

  --or-start      nobody there is no error: start COMMAND all the same
  --timeout MS    how long the old process may take to let go (default 60000)
  --json          what becomes of it as one object on standard error:
                  { taken, pid, connections }, or { taken: false, reason }
  --help          print this

FOLDER may also be the socket itself. Without COMMAND the connections sleep on
until something opens the store. COMMAND gets SIGINT, SIGTERM and SIGHUP that
are sent to this process.

  torpor handover ./connections -- node --import tsx server.ts
  torpor handover ./connections --or-start -- ./server

Exit codes: that of COMMAND, when it was started (128 and the number of the
signal that ended it); else 0 the old process has let go, 1 it was told to and
has not (standard error says why), 2 it was not told, or the command line is
wrong.
`;

const EXIT_STUCK = 1;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** `torpor handover`. */
export const handover: Command = {
  name: "handover",
  summary: "replaces the process of a store by another, without a reset",
  help: HELP,
  passes: true,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const dashes = args.indexOf("--");
    const command = dashes < 0 ? [] : args.slice(dashes + 1);
    const { values, positionals, json } = readArguments(dashes < 0 ? args : args.slice(0, dashes), {
      "or-start": { type: "boolean", default: false },
      timeout: { type: "string", default: "60000" },
    });
    const tell = (text: string, facts: object): void =>
      terminal.err(json ? `${JSON.stringify(facts)}\n` : `torpor handover: ${text}\n`);
    const [folder, more] = positionals;
    if (folder === undefined) throw new UsageError("which folder?");
    if (more !== undefined) {
      throw new UsageError(`one folder, not "${more}" as well; a command comes behind --`);
    }
    if (dashes >= 0 && command.length === 0) throw new UsageError("which command, behind --?");
    const timeoutMs = Number(values.timeout);
    if (!(timeoutMs > 0 && timeoutMs < 2 ** 31)) {
      throw new UsageError(`--timeout: "${values.timeout}" is no time`);
    }
    const path = socketOf(folder);
    try {
      const { pid, connections } = await takeOver(path, { timeoutMs });
      tell(`process ${pid} has let go of ${connections} connections`, { taken: true, pid, connections });
    } catch (error) {
      if (!(error instanceof HandoverError)) throw error;
      if (error.reason !== "nobody" || !values["or-start"]) {
        if (!error.stopping) throw new InputError(error.message);
        tell(`${error.message}; it had been told to stop`, { taken: false, reason: error.reason });
        return EXIT_STUCK;
      }
      tell("nobody is there", { taken: false, reason: error.reason });
    }
    return command.length === 0 ? 0 : await runCommand(command);
  },
};

function socketOf(folder: string): string {
  return statSync(folder, { throwIfNoEntry: false })?.isSocket() ? folder : `${folder}/handover`;
}

/** Runs a command in the foreground; its exit code, as a shell's. */
function runCommand([program, ...args]: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(program!, args, { stdio: "inherit" });
    const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
    for (const signal of SIGNALS) process.on(signal, pass);
    const end = (): void => {
      for (const signal of SIGNALS) process.off(signal, pass);
    };
    child.once("error", (error) => {
      end();
      reject(new InputError(`cannot start "${program}": ${error.message}`));
    });
    child.once("exit", (code, signal) => {
      end();
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
