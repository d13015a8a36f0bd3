import { readFileSync, statSync } from "node:fs";
import { ArchiveError, ArchiveReader, archiveSource } from "../../checkpoint/archive/archive_reader.ts";
import { explainFirewall } from "../../checkpoint/firewall/explain.ts";
import { explainImage } from "../../checkpoint/image/explain.ts";
import { readFrame } from "../../checkpoint/image/frame.ts";
import { ImageError } from "../../checkpoint/image/image_error.ts";
import { Kind } from "../../checkpoint/image/kinds.ts";
import { measureImage } from "../../checkpoint/image/measure.ts";
import { verifyImage } from "../../checkpoint/image/verify.ts";
import { explainPatch } from "../../patching/image/explain.ts";
import { printable } from "../color.ts";
import { readArguments } from "../arguments.ts";
import { Gathered } from "../gathered.ts";
import { type Command, InputError, type Terminal, UsageError } from "../command.ts";
import { DiffImage } from "../../checkpoint/appliances/diff/diff_image.ts"; // these register their kinds
import { explainDiff } from "../../checkpoint/appliances/diff/explain_diff.ts";
import { loadZstd } from "../../checkpoint/appliances/zstd.ts";
import "../../checkpoint/replay/segments.ts";
import "../../checkpoint/sockets/socket_image.ts";

const HELP = `\
Prints an image in words: its kind, every field with its byte, every part with
its verdict; of a firewall's also its rules as nft prints them, and its flows
as conntrack lists them; of a patch its code, and what each name is bound to;
of a differential what it does to each name.
A file may hold several images, one after the other, as recordings and archives
do.

  torpor explain FILE... [--json]

  --json   one object per image: { file, offset, length, ok, parts }; what is
           damaged in an archive so that no image can be made of it: { file,
           offset, length, ok, damage }
  --help   print this

  torpor explain connection.img
  torpor explain run.replay | less

Exit codes: 0 every part is whole, 1 a part is damaged, 2 a file cannot be read
or the command line is wrong.
`;

/** `torpor explain`. */
export const explain: Command = {
  name: "explain",
  summary: "prints an image in words",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals } = readArguments(args);
    if (positionals.length === 0) throw new UsageError("which file?");
    let whole = true;
    for (const file of positionals) {
      if (statSync(file).isDirectory()) {
        throw new InputError(
          `"${file}" is a folder: torpor store explain is for those in which connections sleep`,
        );
      }
      const bytes = new Uint8Array(readFileSync(file));
      for (const { start, end, damage } of spansOf(bytes)) {
        const image = bytes.subarray(start, end);
        if (damage !== undefined) {
          whole = false;
          const told = { file, offset: start, length: image.length, ok: false, damage };
          terminal.out(
            json
              ? `${JSON.stringify(told)}\n`
              : printable(`${file} at byte ${start}: BAD, ${image.length} bytes: ${damage}\n`),
          );
          continue;
        }
        const { ok, parts } = verifyImage(image);
        whole &&= ok;
        if (json) {
          terminal.out(`${JSON.stringify({ file, offset: start, length: image.length, ok, parts })}\n`);
        } else {
          const where = start === 0 && end === bytes.length ? "" : ` at byte ${start}`;
          terminal.out(`${printable(`${file}${where}: ${explainImage(image)}`)}`);
          if (ok && readFrame(image).kind === Kind.Firewall) terminal.out(printable(explainFirewall(image)));
          if (ok && readFrame(image).kind === Kind.Patch) terminal.out(printable(explainPatch(image)));
          if (ok && readFrame(image).kind === Kind.Diff) await explainChanges(image, terminal);
        }
      }
    }
    return whole ? 0 : EXIT_DAMAGED;
  },
};

const EXIT_DAMAGED = 1;

async function explainChanges(image: Uint8Array<ArrayBuffer>, terminal: Terminal): Promise<void> {
  const source = {
    size: () => image.length,
    read: (into: Uint8Array, position: number) => {
      const some = image.subarray(position, position + into.length);
      into.set(some);
      return some.length;
    },
  };
  const lines = new Gathered(terminal);
  for (const { text } of explainDiff(new DiffImage(source, await loadZstd()))) {
    await lines.add(`  ${printable(text)}\n`);
  }
  lines.end();
}

interface Span {
  readonly start: number;
  readonly end: number;
  /** What no image can be made of. */
  readonly damage?: string;
}

/** Where the images of a file lie, one behind the other, or those of an archive. */
function spansOf(bytes: Uint8Array): Iterable<Span> {
  try {
    return archiveSpans(bytes, new ArchiveReader(archiveSource(bytes)));
  } catch (error) {
    if (error instanceof ArchiveError) return sequenceSpans(bytes);
    throw error;
  }
}

function* archiveSpans(bytes: Uint8Array, archive: ArchiveReader): Iterable<Span> {
  if (archive.damage.length === 0) yield { start: 0, end: archive.start }; // its beginning is whole
  let told = 0;
  const damaged = function* (): Iterable<Span> {
    for (; told < archive.damage.length; told++) {
      const { offset, bytes, reason } = archive.damage[told]!;
      yield { start: offset, end: offset + bytes, damage: reason };
    }
  };
  for (const { offset, image } of archive.images()) {
    yield* damaged();
    yield { start: offset, end: offset + image.length };
  }
  yield* damaged();
  if (archive.end < bytes.length) yield { start: archive.end, end: bytes.length };
}

/** What cannot be measured is one, and explains why. */
function* sequenceSpans(bytes: Uint8Array): Iterable<Span> {
  let start = 0;
  do {
    let length: number | undefined;
    try {
      length = measureImage(bytes.subarray(start));
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
    }
    const end = start + (length ?? bytes.length - start);
    yield { start, end };
    start = end;
  } while (start < bytes.length);
}
