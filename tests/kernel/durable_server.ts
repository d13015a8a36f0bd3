/**
 * A durable server on a TUN interface, to be killed at any moment: run in a namespace.
 *
 *   durable_server.ts INTERFACE ADDRESS/PREFIX STORE_FOLDER
 *
 * Port 7 answers each byte with the next in order (handlers), and counts in its attachment.
 */
import process from "node:process";
import { FileStore, openTun, SleepyHost } from "../../mod.ts";
import { durableByte } from "./durable_bytes.ts";

const [name, address, folder] = process.argv.slice(2);
const link = await openTun({ name: name! });
const store = await FileStore.open(folder!);
const host = new SleepyHost({
  interfaces: [{ link }],
  addresses: [{ address: address! }],
  store,
  idleMs: 400,
});
host.sleeper.on("error", (error) => console.error(error));
let heard = false;
host.serve({
  port: 7,
  durable: true,
  open: (connection) => void (connection.attachment = { got: 0 }),
  data(connection, bytes) {
    const memory = connection.attachment as { got: number };
    bytes.forEach((byte, at) => {
      if (byte !== durableByte(memory.got + at)) console.log(`wrong byte ${memory.got + at}`);
    });
    memory.got += bytes.length;
    if (!heard) console.log("heard");
    heard = true;
    connection.write(bytes.map((byte) => byte ^ 0xff));
  },
  close: (_, error) => void (error === undefined || console.log(`closed: ${error.message}`)),
});
console.log("ready");
