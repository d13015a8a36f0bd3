/** The kernel's end of `bench -- tun`: an echo over node:net. It ends with its standard input. */
import { createServer } from "node:net";
import process from "node:process";
import { tell } from "../worker.ts";

createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => {}); // its client is done with it
  socket.on("data", (bytes) => void socket.write(bytes));
}).listen(7, "0.0.0.0", () => tell("listening"));
process.stdin.resume().on("end", () => process.exit(0));
