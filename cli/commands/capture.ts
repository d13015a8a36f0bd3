import { closeSync, openSync, writeSync } from "node:fs";
import process from "node:process";
import { portOf, readArguments, wholeNumber } from "../arguments.ts";
import { type Command, type Terminal, UsageError } from "../command.ts";
import { CONTROL_EXITS, CONTROL_FOLDER, UntilEnded, withHost } from "../control.ts";
import { Progress } from "../progress.ts";
import { bytesText } from "../units.ts";

const HELP = `\
Captures a running host's packets as pcapng, for Wireshark, with what they
meant as comments: what woke, why and by which rule of the firewall something
was dropped, what was answered for a sleeper. Falling asleep and waking stand
between the packets as lines of syslog.

  torpor capture FOLDER FILE|- [options]

  --port PORT    only TCP segments from and to this port
  --keys         with the TLS keys that the host was told (keylog of its
                 control offer): Wireshark shows what is inside, and
                 tshark, when it reads twice (-2)
  --seconds N    end after so long; else ^C ends it
  --json         at the end one object: { bytes, seconds }
  --help         print this

FILE "-" is standard output. A reader that is too slow misses packets, and is
told how many.

  torpor capture ./connections run.pcapng --seconds 60
  torpor capture ./connections - | tshark -r - -T fields -e frame.comment

${CONTROL_FOLDER}
${CONTROL_EXITS}`;

/** `torpor capture`. */
export const capture: Command = {
  name: "capture",
  summary: "captures a running host's packets and what they meant, as pcapng",
  help: HELP,
  run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [folder, file, more], values } = readArguments(args, {
      port: { type: "string" },
      keys: { type: "boolean", default: false },
      seconds: { type: "string" },
    });
    if (folder !== undefined && file === undefined) {
      throw new UsageError("into which file? - is standard output");
    }
    if (more !== undefined) throw new UsageError(`one file, not "${more}" as well`);
    const port = portOf(values.port);
    const seconds = values.seconds === undefined
      ? undefined
      : wholeNumber("seconds", values.seconds, 1, 86_400);
    const { keys } = values;
    return withHost(folder, "capture", terminal, async (client) => {
      const fd = file === "-" ? undefined : openSync(file!, "w");
      const progress = new Progress(terminal);
      const startedMs = performance.now();
      let bytes = 0;
      using until = new UntilEnded(() => client.close());
      const timer = seconds === undefined ? undefined : setTimeout(() => {
        until.over = true;
        client.close();
      }, seconds * 1_000);
      try {
        for await (const piece of client.capture({ keys, ...(port === undefined ? {} : { port }) })) {
          if (fd === undefined) await writeOut(piece);
          else writeSync(fd, piece);
          bytes += piece.length;
          progress.show(`${bytesText(bytes)} captured; ^C ends it`);
        }
      } catch (error) {
        if (!until.over) throw error;
      } finally {
        clearTimeout(timer);
        progress.end();
        if (fd !== undefined) closeSync(fd);
      }
      const told = { bytes, seconds: (performance.now() - startedMs) / 1_000 };
      if (json) terminal.err(`${JSON.stringify(told)}\n`);
      else if (fd !== undefined) terminal.err(`${bytesText(bytes)} captured into ${file}\n`);
    });
  },
};

function writeOut(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => error ? reject(error) : resolve());
  });
}
