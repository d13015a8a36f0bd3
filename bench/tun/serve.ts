import { Host, type HostShard, openTun } from "../../mod.ts";
import { serveIperf3 } from "../../tests/support/iperf3.ts";

/** Which interface is served, as which address, and whether with offloads. */
export interface Served {
  readonly name: string;
  readonly address: string;
  readonly offloads: boolean;
}

/** A server for the stock iperf3, and an echo, on a TUN interface, or as a shard on one of its queues. */
export async function serve({ name, address, offloads }: Served, shard?: HostShard): Promise<void> {
  const link = await openTun({ name, offloads, multiQueue: shard !== undefined });
  const host = new Host({
    interfaces: [{ link }],
    addresses: [{ address }],
    ...(shard === undefined ? {} : { shard }),
  });
  void serveIperf3(host.listen({ port: 5201 }));
  host.serve({
    port: 7,
    open: (connection) => connection.setNoDelay(),
    data: (connection, bytes) => void connection.write(bytes),
  });
}
