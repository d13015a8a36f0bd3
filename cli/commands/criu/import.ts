import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fromCriu } from "../../../checkpoint/criu/convert.ts";
import { decodeFiles, decodeTcpStream, tcpStreamName } from "../../../checkpoint/criu/image_files.ts";
import type { Content } from "../../../checkpoint/criu/protobuf.ts";
import { ImageError } from "../../../checkpoint/image/image_error.ts";
import {
  type FrozenSocket,
  readSocketImage,
  writeSocketImage,
} from "../../../checkpoint/sockets/socket_image.ts";
import { idOf } from "../../../checkpoint/sockets/stored.ts";
import { FileStore } from "../../../checkpoint/store/file_store.ts";
import { readArguments } from "../../arguments.ts";
import { type Command, InputError, type Terminal, UsageError } from "../../command.ts";
import { counted } from "../../store/open.ts";

const HELP = `\
Puts the TCP connections of CRIU's images (files.img, tcp-stream-*.img) into a
store, where they sleep until they are spoken to. What was in flight is sent
again a second after the store's process has opened it. The process that they
were taken from must not go on with them.

  torpor criu import IMAGES FOLDER [--json]

FOLDER is made when missing; a connection that sleeps there already is refused,
and then nothing is imported. Each is printed by its name, with --json as an
object { id }.

  criu dump --tree PID --images-dir ./images --tcp-established
  torpor criu import ./images ./connections

Exit codes: 0 done, 2 an image is damaged or holds what we cannot, the store is
open elsewhere, or the command line is wrong.
`;

/** `torpor criu import`. */
export const criuImport: Command = {
  name: "import",
  summary: "puts the connections of CRIU's images into a store",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { positionals, json } = readArguments(args);
    const [images, folder, more] = positionals;
    if (images === undefined || folder === undefined || more !== undefined) {
      throw new UsageError("which images, and into which folder?");
    }
    const sockets = [...socketsOf(images)];
    if (sockets.length === 0) throw new InputError(`no TCP connection is in "${join(images, "files.img")}"`);
    const names = new Set(sockets.map(idOf));
    await using store = await FileStore.open(folder);
    for (const { bytes } of store.live()) {
      const known = nameOf(bytes);
      if (known !== undefined && names.has(known)) {
        throw new InputError(`connection ${known} sleeps in "${folder}" already`);
      }
    }
    await store.append(sockets.map(({ tcb }) => writeSocketImage(tcb, undefined))).durable;
    for (const name of names) terminal.out(json ? `${JSON.stringify({ id: name })}\n` : `${name}\n`);
    terminal.err(`torpor criu import: ${counted(sockets.length, "connection")} into "${folder}"\n`);
    return 0;
  },
};

/** The connections that have a stream: listening sockets and those of UDP have none. */
function* socketsOf(images: string): Generator<FrozenSocket> {
  const nowMs = Date.now();
  for (const file of decodeFiles(readFileSync(join(images, "files.img")))) {
    const name = tcpStreamName((file["isk"] as Content)["ino"] as number);
    const path = join(images, name);
    if (!existsSync(path)) continue;
    const socket = fromCriu({ file, ...decodeTcpStream(readFileSync(path), name) }, nowMs);
    readSocketImage(writeSocketImage(socket.tcb, undefined)); // numbers that no connection has name themselves
    yield socket;
  }
}

function nameOf(image: Uint8Array): string | undefined {
  try {
    return idOf(readSocketImage(image));
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}
