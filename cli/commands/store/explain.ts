import { explainImage } from "../../../checkpoint/image/explain.ts";
import { ImageError } from "../../../checkpoint/image/image_error.ts";
import { verifyImage } from "../../../checkpoint/image/verify.ts";
import { describeSocketImage, locationText, placeOf } from "../../../checkpoint/sockets/stored.ts";
import { stretchesOf } from "../../../checkpoint/sockets/stretch.ts";
import { printable } from "../../color.ts";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { findConnection, snapshotOf } from "../../store/open.ts";

const HELP = `\
Prints the image of one sleeping connection in words: every field with its
byte, every part with its verdict.

  torpor store explain FOLDER LOCATION|CONNECTION [--json]

  --json   one object: { file, offset, connection, ok, parts }
  --help   print this

LOCATION and CONNECTION are as ls prints them. To find a connection all images
are read.

  torpor store explain ./connections 7:4096
  torpor store explain ./connections 10.7.0.1:80-10.9.0.4:51312

Exit codes: 0 the image is whole, 1 it is damaged, 2 it is not there, the
folder cannot be read or the command line is wrong.
`;

const EXIT_DAMAGED = 1;

/** `torpor store explain`. */
export const storeExplain: Command = {
  name: "explain",
  summary: "prints the image of one connection in words",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals } = readArguments(args);
    const [folder, which, more] = positionals;
    if (folder === undefined) throw new UsageError("which folder?");
    if (which === undefined) throw new UsageError("which connection? ls lists them");
    if (more !== undefined) throw new UsageError(`one connection, not "${more}" as well`);
    const { disk, store } = await snapshotOf(folder, "store explain", terminal);
    try {
      const { location, bytes } = findConnection(store, folder, which);
      const { file, offset } = placeOf(location);
      const { ok, parts } = verifyImage(bytes);
      let connection: Record<string, unknown> | undefined;
      try {
        connection = {
          ...describeSocketImage(bytes, location, stretchesOf(store)),
          location: locationText(location),
        };
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
      }
      terminal.out(
        json ? `${JSON.stringify({ file, offset, connection, ok, parts })}\n` : printable(
          `${connection?.["id"] ?? "no connection"}, byte ${offset} of "${file}": ${explainImage(bytes)}`,
        ),
      );
      return ok && connection !== undefined ? 0 : EXIT_DAMAGED;
    } finally {
      await store.close();
      disk.close();
    }
  },
};
