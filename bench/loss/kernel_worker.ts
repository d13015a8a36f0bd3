/**
 * The kernel's end of a transfer, in a namespace of its own: serves bytes without end on one port, and swallows
 * them on another. Asked for "receive MS" it answers with what comes in; "send ADDRESS" has no answer.
 */
import { connect, createServer, type Socket } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { tell } from "../worker.ts";
import { CHUNK_BYTES, SINK_PORT, SOURCE_PORT } from "./case.ts";

const chunk = new Uint8Array(CHUNK_BYTES);
let windowMs = 0;

function pour(socket: Socket): void {
  socket.on("error", () => {}); // the receiver has seen enough
  const more = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on("drain", more);
  more();
}

function swallow(socket: Socket): void {
  let count = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  socket.on("error", () => {});
  socket.on("data", (bytes) => {
    count += bytes.length;
    timer ??= setTimeout(() => {
      socket.resetAndDestroy();
      tell({ bytes: count });
    }, windowMs);
  });
}

createServer(swallow).listen(SINK_PORT, "0.0.0.0");
createServer(pour).listen(SOURCE_PORT, "0.0.0.0");
createInterface({ input: process.stdin }).on("line", (line) => {
  const [what, argument] = line.split(" ");
  if (what === "receive") windowMs = Number(argument);
  else pour(connect(SINK_PORT, argument));
}).on("close", () => process.exit(0));
tell("listening");
