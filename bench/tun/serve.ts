import { Host, type HostShard, openTun } from "../../mod.ts";
import { serveIperf3 } from "../../tests/support/iperf3.ts";

/** Which interface is served, as which address, and whether with offloads. */
export interface Served {
  readonly name: string;
  readonly address: string;
  readonly offloads: boolean;
  /** Whether it would pass packets on between interfaces: segments are not put together before the stack sees them. */
  readonly forwarding?: boolean;
}

/**
 * A server for the stock iperf3, an echo and a sink, on a TUN interface, or as a shard on one of its queues.
 * @returns How many bytes the sink has had.
 */
export async function serve(
  { name, address, offloads, forwarding = false }: Served,
  shard?: HostShard,
): Promise<() => number> {
  const link = await openTun({ name, offloads, multiQueue: shard !== undefined });
  const host = new Host({
    interfaces: [{ link }],
    addresses: [{ address }],
    forwarding,
    ...(shard === undefined ? {} : { shard }),
  });
  void serveIperf3(host.listen({ port: 5201 }));
  host.serve({
    port: 7,
    open: (connection) => connection.setNoDelay(),
    data: (connection, bytes) => void connection.write(bytes),
  });
  let received = 0;
  host.serve({ port: 9, data: (_, bytes) => void (received += bytes.length) });
  return () => received;
}
