/**
 * Torpor in a page: hosts on {@linkcode pipe} links, whose connections sleep in memory. Nothing here touches a
 * module of Node's, so bundlers take it as it is; TUN, unix sockets, files and `node:net`'s shapes are in mod.ts only.
 *
 * @example
 * ```ts
 * import { Host, MemoryStore, pipe, SleepyHost } from "@torpor/torpor/browser";
 * const [left, right] = pipe();
 * const server = new SleepyHost({
 *   interfaces: [{ link: left }],
 *   addresses: [{ address: "10.0.0.1/24" }],
 *   store: new MemoryStore(),
 * });
 * server.serve({ port: 7, data: (connection, bytes) => void connection.write(bytes) });
 * const client = new Host({ interfaces: [{ link: right }], addresses: [{ address: "10.0.0.2/24" }] });
 * const conn = await client.connect({ hostname: "10.0.0.1", port: 7 });
 * conn.close();
 * client.close();
 * server.close();
 * ```
 *
 * @module
 */

export { SleepingHost as SleepyHost, type SleepyHostOptions } from "./checkpoint/sleeping_host.ts";
export { Host } from "./net/socket/host.ts";
export type { HostInterface, HostOptions } from "./net/socket/host_options.ts";
export type { Connection } from "./net/socket/connection.ts";
export type { Handlers, HandlerServer } from "./net/socket/handlers.ts";
export { mqttPings } from "./net/socket/asleep/mqtt_pings.ts";
export { webSocketPings } from "./net/socket/asleep/web_socket_pings.ts";
export type { ConnectOptions, ListenOptions, NetAddr, TcpConn, TcpListener } from "./net/socket/types.ts";
/** The classes of the errors that networking throws, by the names that `Deno.errors` has. */
export * as errors from "./net/socket/errors.ts";
export type { Link, LinkCounters, LinkSink, Medium } from "./net/link/link.ts";
export { pipe } from "./net/link/pipe.ts";
export { impair } from "./net/link/impaired.ts";
export { PcapngWriter, readPcapng, tap } from "./net/link/pcap.ts";
export { type Analyzer, IdleAnalyzer } from "./checkpoint/analyzer.ts";
export { Sleeper } from "./checkpoint/sleep/sleeper.ts";
export type { SleeperEvents, SleeperStats } from "./checkpoint/sleep/types.ts";
export { MemoryStore } from "./checkpoint/store/memory_store.ts";
export { type Store, StoreError } from "./checkpoint/store/store.ts";
export { METRICS_TYPE, metricsText } from "./checkpoint/metrics.ts";
export { explainImage, ImageError, readImage, verifyImage, writeImage } from "./checkpoint/image/mod.ts";
export type { FirewallRules, Rule } from "./net/firewall/mod.ts";
export { type Clock, SystemClock, VirtualClock } from "./base/clock.ts";
export { type Entropy, Prng, systemEntropy } from "./base/random.ts";
