/**
 * A host on a TUN interface that sends every datagram back that its port 7 gets:
 * `datagram_trains_host.ts INTERFACE ADDRESS/PREFIX...`. A line of its standard input is answered with its link's counters.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { Host, openTun } from "../../mod.ts";

const [name, ...addresses] = process.argv.slice(2);
const link = await openTun({ name: name! });
const host = new Host({ interfaces: [{ link }], addresses: addresses.map((address) => ({ address })) });
const socket = host.listenDatagram({ port: 7, hostname: "::" }); // of both families
const answers: Parameters<typeof socket.send>[] = [];
void (async () => {
  for await (const datagram of socket) {
    if (answers.push(datagram) === 1) setImmediate(sendAll);
  }
})();
function sendAll(): void { // in one turn
  for (const answer of answers.splice(0)) void socket.send(...answer);
}
createInterface({ input: process.stdin }).on("line", () =>
  console.log(JSON.stringify({
    offloads: link.offloads,
    trains: link.datagramTrains,
    drops: host.stack.drops,
    framesIn: link.counters.framesIn,
    framesOut: link.counters.framesOut,
  }))).on("close", () => process.exit(0));
console.log("ready");
