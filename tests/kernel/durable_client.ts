/**
 * Clients of the durable server, on the kernel's TCP: each says its stream, in pieces with pauses, and reads what comes
 * back. Prints what went wrong, or "whole" for each.
 *
 *   durable_client.ts ADDRESS COUNT BYTES
 */
import { connect } from "node:net";
import process from "node:process";
import { durableByte } from "./durable_bytes.ts";

const [address, count, length] = process.argv.slice(2);
/** Some pieces are bulk, some a few bytes. */
const PIECES = [40_000, 10, 3_000, 1, 700];
const PAUSE_MS = 60;

async function converse(bytes: number, first: number): Promise<string> {
  const socket = connect({ host: address!, port: 7, allowHalfOpen: true });
  let heard = 0;
  let wrong: string | undefined;
  const over = new Promise<string>((resolve) => {
    socket.on("error", (error) => resolve(`${error.message}, heard ${heard}`));
    socket.on("data", (data) => {
      for (let at = 0; at < data.length; at++) {
        if (data[at] !== (durableByte(heard + at) ^ 0xff)) wrong ??= `wrong byte ${heard + at}`;
      }
      heard += data.length;
    });
    socket.on("end", () => resolve(wrong ?? (heard === bytes ? "whole" : `ended at ${heard} of ${bytes}`)));
  });
  let ended = false;
  over.then(() => void (ended = true));
  for (let at = 0, turn = first; at < bytes && !ended; turn++) {
    const piece = Uint8Array.from(
      { length: Math.min(PIECES[turn % PIECES.length]!, bytes - at) },
      (_, index) => durableByte(at + index),
    );
    at += piece.length;
    if (!socket.write(piece)) {
      await Promise.race([
        over,
        new Promise((resolve) => socket.once("drain", resolve)),
      ]);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  socket.end();
  const result = await over;
  socket.destroy();
  return result;
}

const all = Array.from({ length: Number(count) }, (_, index) => converse(Number(length), index));
for (const each of all) console.log(await each);
