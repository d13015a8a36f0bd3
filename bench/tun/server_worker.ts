/**
 * Our end of `bench -- tun`: a server for the stock iperf3, and an echo, on a TUN interface, `server_worker.ts INTERFACE ADDRESS
 * OFFLOADS`. It says one line when it serves, and ends with its standard input.
 */
import process from "node:process";
import { Host, openTun } from "../../mod.ts";
import { serveIperf3 } from "../../tests/support/iperf3.ts";
import { tell } from "../worker.ts";

const [name, address, offloads] = process.argv.slice(2) as [string, string, string];
const link = await openTun({ name, offloads: offloads === "true" });
const host = new Host({ interfaces: [{ link }], addresses: [{ address }] });
void serveIperf3(host.listen({ port: 5201 }));
host.serve({
  port: 7,
  open: (connection) => connection.setNoDelay(),
  data: (connection, bytes) => void connection.write(bytes),
});
process.stdin.resume().on("end", () => process.exit(0));
tell({ offloads: link.offloads });
