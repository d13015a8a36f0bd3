import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toCriu } from "../../../checkpoint/criu/convert.ts";
import {
  type CriuSocket,
  encodeFiles,
  encodeTcpStream,
  tcpStreamName,
} from "../../../checkpoint/criu/image_files.ts";
import { stretchesOf } from "../../../checkpoint/sockets/stretch.ts";
import { readSocketImage } from "../../../checkpoint/sockets/socket_image.ts";
import { readArguments } from "../../arguments.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { counted, findConnection, snapshotOf } from "../../store/open.ts";

const HELP = `\
Writes sleeping connections as CRIU's images: files.img with their addresses,
and for each a tcp-stream-N.img with its numbers, options and queues, N its
inode in hexadecimal. What CRIU cannot hold is left behind: attachments,
TS.Recent, estimates and running timers; checkpoint/criu/convert.ts lists it.
The connections stay in the store, and only one of both may go on with them.

  torpor criu export FOLDER CONNECTION... OUT [--json]

CONNECTION is as torpor store ls prints it, name or location. OUT is a folder,
made when missing, without images. --json prints one object:
{ connections, out }.

  torpor criu export ./connections 10.7.0.1:80-10.9.0.4:51312 ./images
  crit show ./images/tcp-stream-1.img

Exit codes: 0 done, 2 a connection is not there or in a state that CRIU has no
image of, a file cannot be read or written, or the command line is wrong.
`;

/** `torpor criu export`. */
export const criuExport: Command = {
  name: "export",
  summary: "writes sleeping connections as CRIU's images",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { positionals, json } = readArguments(args);
    const [folder, ...rest] = positionals;
    const out = rest.pop();
    if (folder === undefined || out === undefined || rest.length === 0) {
      throw new UsageError("which folder, which connections, and where to?");
    }
    const { disk, store } = await snapshotOf(folder, "criu export", terminal);
    const sockets: CriuSocket[] = [];
    try {
      for (const which of rest) {
        sockets.push(toCriu(
          readSocketImage(findConnection(store, folder, which).bytes, stretchesOf(store)),
          sockets.length + 1,
        ));
      }
    } finally {
      await store.close();
      disk.close();
    }
    mkdirSync(out, { recursive: true });
    const write = (name: string, bytes: Uint8Array): void =>
      writeFileSync(join(out, name), bytes, { flag: "wx" });
    write("files.img", encodeFiles(sockets.map(({ file }) => file)));
    for (const socket of sockets) write(tcpStreamName(socket.file["id"] as number), encodeTcpStream(socket));
    const facts = { connections: sockets.length, out };
    terminal.out(
      json
        ? `${JSON.stringify(facts)}\n`
        : `${counted(sockets.length, "connection")} written into "${out}"\n`,
    );
    return 0;
  },
};
