import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { explainImage } from "../../checkpoint/image/explain.ts";
import { ImageError } from "../../checkpoint/image/image_error.ts";
import { measureImage } from "../../checkpoint/image/measure.ts";
import { verifyImage } from "../../checkpoint/image/verify.ts";
import { printable } from "../color.ts";
import { type Command, type Terminal, UsageError } from "../command.ts";
import "../../checkpoint/replay/segments.ts"; // these register their kinds
import "../../checkpoint/sockets/socket_image.ts";

const HELP = `\
Prints an image in words: its kind, every field with its byte, every part with its verdict. A file may hold
several images, one after the other, as recordings do.

  torpor explain FILE... [--json]

  --json   one object per image: { file, offset, length, ok, parts }
  --help   print this

  torpor explain connection.img
  torpor explain run.replay | less

Exit codes: 0 every part is whole, 1 a part is damaged, 2 a file cannot be read or the command line is wrong.
`;

/** `torpor explain`. */
export const explain: Command = {
  name: "explain",
  summary: "prints an image in words",
  help: HELP,
  run(args: string[], terminal: Terminal): number {
    const { values, positionals } = parseArgs({
      args,
      options: { json: { type: "boolean", default: false } },
      allowPositionals: true,
    });
    if (positionals.length === 0) throw new UsageError("which file?");
    let whole = true;
    for (const file of positionals) {
      const bytes = new Uint8Array(readFileSync(file));
      for (const [start, end] of imagesOf(bytes)) {
        const image = bytes.subarray(start, end);
        const { ok, parts } = verifyImage(image);
        whole &&= ok;
        if (values.json) {
          terminal.out(`${JSON.stringify({ file, offset: start, length: image.length, ok, parts })}\n`);
        } else {
          const where = start === 0 && end === bytes.length ? "" : ` at byte ${start}`;
          terminal.out(`${printable(`${file}${where}: ${explainImage(image)}`)}`);
        }
      }
    }
    return whole ? 0 : EXIT_DAMAGED;
  },
};

const EXIT_DAMAGED = 1;

/** Where the images of a file lie. What cannot be measured is one, and explains why. */
function* imagesOf(bytes: Uint8Array): Generator<[start: number, end: number]> {
  let start = 0;
  do {
    let length: number | undefined;
    try {
      length = measureImage(bytes.subarray(start));
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
    }
    yield [start, start + (length ?? bytes.length - start)];
    start += length ?? bytes.length - start;
  } while (start < bytes.length);
}
