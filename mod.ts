/**
 * Torpor: a userspace TCP/IP stack whose idle connections sleep in checkpoint images and wake on
 * traffic. This is the whole public API; everything else is reached by its own path.
 *
 * @module
 */

// A host on a network: listen, connect, serve; with a store, its idle connections sleep.
export { SleepyHost, type SleepyHostOptions } from "./checkpoint/host.ts";
export type { DhcpConfiguration, DhcpLease, DhcpOptions } from "./net/socket/dhcp.ts";
export type { DnsOptions, DnsRecords, DnsType, ResolveDnsOptions } from "./net/socket/dns/resolver.ts";
export { Host } from "./net/socket/host.ts";
// Several of them on one address, one for each core.
export { Shards, type ShardsOptions } from "./net/shards/shards.ts";
export { joinShards, type Shard } from "./net/shards/shard.ts";
export type { ShardTotals } from "./net/shards/shard_messages.ts";
export type { HostInterface, HostOptions, HostShard } from "./net/socket/host_options.ts";
export { type Connection } from "./net/socket/connection.ts";
export { type Handlers, type HandlerServer } from "./net/socket/handlers.ts";
export type { AsleepProtocol, ProtocolReading } from "./net/socket/asleep/protocol.ts";
export { mqttPings } from "./net/socket/asleep/mqtt_pings.ts";
export { webSocketPings } from "./net/socket/asleep/web_socket_pings.ts";
export type { ConnectOptions, DatagramConn, ListenOptions, NetAddr } from "./net/socket/types.ts";
export type {
  ConnectDatagramOptions,
  ConnectedUdpConn,
  DatagramOptions,
  UdpConn,
} from "./net/socket/types.ts";
export type { TcpConn, TcpListener, Trouble } from "./net/socket/types.ts";
export type { TcpConnection } from "./net/socket/conn.ts";
export type { ConnListener } from "./net/socket/listener.ts";
export type { TcpOptions } from "./net/tcp/options.ts";
export { linuxTcpInfo, type TcpInfo, TcpInfoOption } from "./net/tcp/info.ts";
/** The classes of the errors that networking throws, by the names that `Deno.errors` has. */
export * as errors from "./net/socket/errors.ts";

// Servers whose connections keep nothing in memory while they sleep, and Deno's own calls over a host.
export { type HttpServerOptions, HttpService, serveHttp } from "./serve/http/http_server.ts";
export type { HttpHandlers, WebSocketHandlers } from "./serve/http/http_engine.ts";
export type { Client, EventClient, HttpClient, WebSocketClient } from "./serve/http/clients.ts";
export type { ServerEvent } from "./serve/http/event_stream.ts";
export type { AttachmentOptions } from "./serve/hibernation/kept.ts";
export { denoApi } from "./serve/deno/deno_api.ts";
export {
  type DenoElsewhere,
  type DenoNamespace,
  denoNamespace,
  type DenoShim,
} from "./serve/deno/namespace.ts";
export type { DenoApi, TlsConn, TlsListener } from "./serve/deno/types.ts";

// node:net's shape, for node:http, TLS, WebSockets and database clients.
export { type NodeService, type NodeServiceOptions, serveNode } from "./serve/node/serve_node.ts";
export { connectNode, type NodeServer, nodeServer, StackSocket } from "./net/socket/stack_socket.ts";

export { httpAgent, httpsAgent } from "./serve/node/agent.ts";
export { type FetchOptions, fetchOver, type HostFetch } from "./serve/node/fetch.ts";
export {
  createStackServer,
  type StackListenOptions,
  StackServer,
  type StackServerOptions,
} from "./serve/node/server.ts";

// Links: where packets enter and leave.
export type { Link, LinkCounters, LinkSink, Medium } from "./net/link/link.ts";
export { pipe } from "./net/link/pipe.ts";
export { connectUnix, listenUnix } from "./net/link/unix.ts";
export { openTun } from "./net/link/tun.ts";
export { reconnect, ReconnectingLink } from "./net/link/reconnecting.ts";
export { impair } from "./net/link/impaired.ts";
export { PcapngWriter, readPcapng, tap } from "./net/link/pcap.ts";

// Sleep: who sleeps when, and where the images live.
export { type Analyzer, IdleAnalyzer } from "./checkpoint/analyzer.ts";
export { type ArchiveDamage, ArchiveError } from "./checkpoint/archive/archive_reader.ts";
export type { Archived, ArchiveOptions, ArchiveSink } from "./checkpoint/archive/archive_writer.ts";
export { unarchive, type Unarchived, type UnarchiveOptions } from "./checkpoint/archive/unarchive.ts";
export { HandoverError, type HandoverReason } from "./checkpoint/handover/handover_error.ts";
export type { HandoverOffer, OfferOptions } from "./checkpoint/handover/offer.ts";
export type { TakenOver, TakeOverOptions } from "./checkpoint/handover/take_over.ts";
export type { ControlOffer } from "./checkpoint/control/offer.ts";
export { ControlClient } from "./checkpoint/control/client.ts";
export { ControlError, type ControlReason } from "./checkpoint/control/control_error.ts";
export type { Events } from "./checkpoint/events.ts";
export { Sleeper } from "./checkpoint/sleep/sleeper.ts";
export type { SleeperEvents, SleeperStats } from "./checkpoint/sleep/types.ts";
export type { WakeBudget, WakePolicy } from "./net/wake/policy.ts";
export { METRICS_TYPE, metricsText } from "./checkpoint/metrics.ts";
export {
  openTelemetry,
  type Telemetry,
  type TelemetryMeter,
  type TelemetryTracer,
} from "./checkpoint/telemetry/open_telemetry.ts";
export type { Recovered } from "./checkpoint/recover.ts";
export { FileStore, MemoryStore, type Store, StoreError } from "./checkpoint/store/mod.ts";
export { explainImage, ImageError, readImage, verifyImage, writeImage } from "./checkpoint/image/mod.ts";

// Patches of code that runs; what builds them, and makes modules patchable, is in patching/build and patching/load.
export {
  type AppliedPatch,
  type ApplyOptions,
  instantiatePatchable,
  LivePatches,
  livePatches,
  offerPatches,
  PatchError,
  PatchFolder,
  type PatchReason,
  readPatch,
  type RestoredPatch,
} from "./patching/mod.ts";
export type { ApplyStep, Patch, PatchSignature, PatchTarget, PatchUnit } from "./patching/mod.ts";
export type { AddedCode, AddedName, FunctionKind, PatchFunction, PatchSymbol } from "./patching/mod.ts";
export type { WasmPatchFunction, WasmSymbol, WasmSymbolKind, WasmUnit } from "./patching/mod.ts";
export type { RelocatableCode, Relocation, RelocationForm, SymbolKind, SymbolScope } from "./patching/mod.ts";

// Runs as files, for bug reports: recorded here, played by `torpor replay`.
export { type OpenRecording, openRecording, recordTo } from "./checkpoint/replay/replay_file.ts";
export {
  Difference,
  Player,
  type PlayerOptions,
  ReplayError,
  ReplayReader,
} from "./checkpoint/replay/mod.ts";
export { Recorder, type RecorderOptions } from "./checkpoint/replay/recorder.ts";

// What the above names.
export type { Ipv6Options } from "./net/ip/ndp.ts";
export type { AddressSpec, RouteConfig, RouteSpec } from "./net/ip/route_config.ts";
export type { TcpConfig } from "./net/tcp/config.ts";
export type { HystartName } from "./net/tcp/congestion/hystart.ts";
export type { CONGESTION_CONTROLS, CongestionControlName } from "./net/tcp/congestion/congestion.ts";
export type { MulticastV4Membership, MulticastV6Membership } from "./net/socket/types.ts";
export type { Acceptor, Owner } from "./net/socket/owner.ts";
export type { PacketWatcher } from "./net/socket/packet_watch.ts";
export type { SocketTalk } from "./net/socket/socket_talk.ts";
export type { StackAddress, StackConnectOptions, StackSocketOptions } from "./net/socket/stack_socket.ts";
export type { StackRecorder } from "./net/stack.ts";
export type { Drop } from "./net/wire/drop.ts";
export type { PipeOptions } from "./net/link/pipe.ts";
export type { ListenUnixOptions, UnixListener, UnixOptions } from "./net/link/unix.ts";
export type { OpenTunOptions, TunLink } from "./net/link/tun.ts";
export type { TunWait } from "./net/link/tun_wait.ts";
export type { ImpairedLink, Impairments, ImpairOptions } from "./net/link/impaired.ts";
export type { ImpairmentCounters } from "./net/link/impaired_lane.ts";
export type { CapturedPacket, Direction } from "./net/link/pcap.ts";
export type {
  AnyHandler,
  ConnectTlsOptions,
  Elsewhere,
  HttpServer,
  ListenTlsOptions,
  ServeElsewhere,
  ServeHandler,
  ServeHandlerInfo,
  ServeOptions,
  StartTlsOptions,
  TlsCertifiedKeyPem,
  TlsHandshakeInfo,
} from "./serve/deno/types.ts";
export type { Watched } from "./checkpoint/analyzer.ts";
export type { Inspected } from "./checkpoint/control/inspect.ts";
export type { ConnectionState, ControlRequest } from "./checkpoint/control/request.ts";
export type { ConnectionRow } from "./checkpoint/control/rows.ts";
export type { HostStatus, Took } from "./checkpoint/control/status.ts";
export type { SleepOwner } from "./net/wake/sleep_owner.ts";
export type { WakeReason } from "./checkpoint/wake_times.ts";
export { Histogram } from "./base/histogram.ts";
export type {
  AppendOptions,
  BareRecord,
  BareRecords,
  Commit,
  Kept,
  LiveRecord,
  Location,
  OnMoved,
  Recall,
  StoreStats,
} from "./checkpoint/store/mod.ts";
export type { Image, ImageContent, Part, PartReport, ReadOptions, Report } from "./checkpoint/image/mod.ts";
export type { CborValue, Kind } from "./checkpoint/image/mod.ts";
export type { PlayedFrame, PlayObserver, ReplayPlace } from "./checkpoint/replay/mod.ts";
export type { EventCode, EventValue, ReplayEvent } from "./checkpoint/replay/event.ts";
export type { About } from "./checkpoint/replay/segments.ts";
export type {
  OneOrMore,
  Policy,
  RuleAction,
  RuleDirection,
  RuleProtocol,
  RuleState,
} from "./net/firewall/rule.ts";

// Rules, clocks, entropy, and what packets travel in.
export {
  FirewallError,
  type FirewallEvent,
  type FirewallEventPacket,
  type FirewallRules,
  FirewallSyntaxError,
  formatFirewallEvent,
  type IncludedFile,
  type JsonRules,
  printJsonRules,
  printTextRules,
  readJsonRules,
  readTextRules,
  type Rule,
  type Ruleset,
  type TextOptions,
} from "./net/firewall/mod.ts";
export { type Alarm, type Clock, SystemClock, VirtualClock } from "./base/clock.ts";
export { Slab } from "./base/slab.ts";
export { copyTail, Tail } from "./base/tail.ts";
export { type Entropy, Prng, systemEntropy } from "./base/random.ts";
