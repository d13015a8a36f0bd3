/**
 * The kernel's side: `shards_client.ts ADDRESS COUNT` connects, and with each line on standard input says something on
 * each connection. It answers with how many echoes were right and how many connections have broken.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

const [host, count] = process.argv.slice(2);
const sockets: Socket[] = [];
let broken = 0;
for (let index = 0; index < Number(count); index++) {
  const socket = connect({ host: host!, port: 7, noDelay: true });
  await once(socket, "connect");
  socket.on("error", () => broken++).on("end", () => broken++);
  sockets.push(socket);
}

async function speak(socket: Socket, text: string): Promise<boolean> {
  const answer = once(socket, "data");
  socket.write(text);
  return `${(await answer)[0]}` === text;
}

let said = 0;
createInterface({ input: process.stdin })
  .on("line", async () => {
    const text = `round ${said++}`;
    const right = await Promise.all(sockets.map((socket, index) => speak(socket, `${text} of ${index}`)));
    console.log(JSON.stringify({ right: right.filter((is) => is).length, broken }));
  })
  .on("close", () => process.exit(0));
console.log("connected");
