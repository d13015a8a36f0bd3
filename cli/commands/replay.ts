import { Player } from "../../checkpoint/replay/player.ts";
import { ReplayError } from "../../checkpoint/replay/event.ts";
import type { Difference } from "../../checkpoint/replay/difference.ts";
import { paint, printable } from "../color.ts";
import { type Command, InputError, type Terminal } from "../command.ts";
import { CONDITIONS } from "../replay/condition.ts";
import type { Happening } from "../replay/happening.ts";
import { infoOf, infoText } from "../replay/info.ts";
import { Narrator } from "../replay/narrator.ts";
import { openAny } from "../replay/open.ts";
import { parseReplayOptions, type ReplayOptions } from "../replay/options.ts";
import { PcapngOut } from "../replay/pcapng_out.ts";
import { hex, jsonOf, Printer } from "../replay/printer.ts";
import { stepThrough } from "../replay/step.ts";

const EXIT_SAME = 0;
const EXIT_DIFFERS = 1;
const EXIT_NEVER = 3;

const HELP = `\
Does to a stack what a recording says was done to another, and compares every
packet that it sends and every answer that it gives, bit for bit. A recording
is made by a host that has a recorder: recordTo("run.replay").

  torpor replay FILE [options]

  --info            say what the file holds; nothing is played
  --print           print the packet walk: what came in, what became of it,
                    what went out
  --all             print also what every turn does
  --step            stop after each step: enter plays the next, ? tells the
                    rest; with --print's words
  --steps N         stop after N steps
  --until CONDITION stop when that comes true:
${CONDITIONS.replace(/^/gm, "  ")}
  --pcapng OUT      write the packets of both ways, what the stack did as their
                    comments
  --json            one object a line: what happens (with --print), or what the
                    file holds; the result at the end
  --tcp NAME=VALUE  another configuration than the recorded: what would have
                    been? (more than once)
  --help            print this

A pcap or pcapng capture from elsewhere is fed to a stack in place of a host in
it. The stack listens on the ports that SYNs go to, writes what the host wrote,
and numbers are translated to its own; nothing is compared:

  --as-host ADDRESS whose place it takes (more than once for a host with
                    several)
  --record OUT      write what happened as a recording

  torpor replay run.replay
  torpor replay run.replay --print --until "packet out tcp rst"
  torpor replay run.replay --step --until "state asleep"
  torpor replay run.replay --tcp sack=false
  torpor replay run.replay --pcapng run.pcapng && wireshark run.pcapng
  torpor replay capture.pcap --as-host 10.0.0.1 --print

Exit codes: 0 all that was played is the same, 1 something differs, 2 the file
cannot be read (the message names the byte) or the command line is wrong, 3 the
condition never came true. A recording or capture that was cut short, as by
kill -9, is played as far as it goes, and a line on standard error says where
it was cut.
`;

/** `torpor replay`. */
export const replay: Command = {
  name: "replay",
  summary: "plays a recording again and compares; feeds a capture to a stack",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const options = parseReplayOptions(args);
    const { reader, close } = openAny(options, terminal);
    try {
      if (options.info) {
        const info = infoOf(reader);
        terminal.out(options.json ? `${JSON.stringify(info)}\n` : printable(infoText(info)));
        return EXIT_SAME;
      }
      return await play(options, reader, terminal);
    } catch (error) {
      if (error instanceof ReplayError) throw new InputError(`${options.file}: ${error.message}`);
      throw error;
    } finally {
      close();
    }
  },
};

async function play(
  options: ReplayOptions,
  reader: Player["reader"],
  terminal: Terminal,
): Promise<number> {
  const { print, json, until, pcapng: path } = options;
  const listens = print || until !== undefined || path !== undefined;
  const printer = new Printer(terminal, options.all);
  const pcapng = path === undefined ? undefined : new PcapngOut(path, () => player);
  let startMs: number | undefined;
  let met = false;
  const narrator = new Narrator((happening: Happening) => {
    startMs ??= happening.timeMs;
    if (print && !json) printer.hear(happening);
    if (print && json && (options.all || !happening.routine)) terminal.out(`${jsonOf(happening)}\n`);
    pcapng?.hear(happening);
    met ||= until?.(happening, startMs) ?? false;
  });
  const player: Player = new Player(reader, { tcp: options.tcp, ...(listens ? { observer: narrator } : {}) });
  narrator.follow(player);
  try {
    const stop = (): boolean => met || player.steps >= options.steps;
    if (options.step) await stepThrough(player, printer, terminal, stop);
    else while (player.step() && !stop());
  } finally {
    pcapng?.close();
  }
  const { difference } = player;
  if (reader.cutAt !== undefined) {
    terminal.err(
      `torpor replay: ${options.file} was cut short at byte ${reader.cutAt}: played up to there\n`,
    );
  }
  const never = difference === undefined && until !== undefined && !met && !options.step;
  terminal.out(json ? `${jsonResult(player, met)}\n` : resultText(terminal, player, never));
  return difference !== undefined ? EXIT_DIFFERS : never ? EXIT_NEVER : EXIT_SAME;
}

function resultText(terminal: Terminal, player: Player, never: boolean): string {
  const { steps, framesIn, framesOut, difference } = player;
  if (player.stack === undefined && difference === undefined) {
    const what = player.reader.about.get("what");
    return `nothing to play: no stack was recorded${
      what === undefined ? "" : printable(` in this ${what}`)
    }; --info tells the rest\n`;
  }
  const what = `${steps} steps, ${framesIn} frames in, ${framesOut} frames out`;
  if (difference === undefined) {
    const behind = never ? "; the condition never came true" : "";
    return `${paint(terminal, "green", "same")}: ${what}${behind}\n`;
  }
  const told = printable(`${difference.message}\n${bytesOf(difference)}`);
  return `${paint(terminal, "red", "differs")} after ${what}: ${told}`;
}

/** Where two frames part. */
function bytesOf({ recorded, replayed }: Difference): string {
  if (recorded === undefined || replayed === undefined) return "";
  const [a, b] = [recorded.bytes, replayed.bytes];
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  const some = (bytes: Uint8Array): string => hex(bytes.subarray(at, at + 16)) || "nothing";
  return `  from byte ${at} of the frame: recorded ${some(a)}, replayed ${some(b)}\n`;
}

function jsonResult({ steps, framesIn, framesOut, difference, reader }: Player, met: boolean): string {
  return JSON.stringify({
    result: difference === undefined ? "same" : "differs",
    ...{ steps, framesIn, framesOut, conditionMet: met, cutAt: reader.cutAt },
    ...(difference === undefined ? {} : {
      difference: {
        what: difference.message,
        ...difference.place,
        recorded: difference.recorded && hex(difference.recorded.bytes),
        replayed: difference.replayed && hex(difference.replayed.bytes),
      },
    }),
  });
}
