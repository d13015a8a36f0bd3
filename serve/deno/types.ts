/**
 * The rest of Deno's networking shapes, beside those of net/socket/types.ts: TLS and HTTP. A type test
 * (tests/types/deno_parity.ts) holds them against Deno's own declarations.
 *
 * @module
 */
import type { DnsRecords, ResolveDnsOptions } from "../../net/socket/dns/resolver.ts";
import type {
  ConnectOptions,
  DatagramConn,
  DatagramOptions,
  ListenOptions,
  NetAddr,
  TcpConn,
  TcpListener,
} from "../../net/socket/types.ts";

/** `Deno.TlsHandshakeInfo`. */
export interface TlsHandshakeInfo {
  alpnProtocol: string | null;
}

/** `Deno.TlsConn`. */
export interface TlsConn extends Omit<TcpConn, "setNoDelay" | "setKeepAlive"> {
  /** Resolves when the handshake is over, rejects when it has failed. Need not be called: reading waits for it too. */
  handshake(): Promise<TlsHandshakeInfo>;
}

/** `Deno.TlsListener`. */
export interface TlsListener extends AsyncIterable<TlsConn>, Disposable {
  accept(): Promise<TlsConn>;
  close(): void;
  readonly addr: NetAddr;
  ref(): void;
  unref(): void;
  [Symbol.asyncIterator](): AsyncIterableIterator<TlsConn>;
}

/** `Deno.TlsCertifiedKeyPem`: a key and its chain of certificates, as text. */
export interface TlsCertifiedKeyPem {
  keyFormat?: "pem";
  key: string;
  cert: string;
}

/** `Deno.ListenTlsOptions`, and what `Host.listen` takes besides. */
export interface ListenTlsOptions extends ListenOptions {
  transport?: "tcp";
  /** Protocols to agree on, the preferred first (RFC 7301). */
  alpnProtocols?: string[];
}

/** `Deno.StartTlsOptions`. */
export interface StartTlsOptions {
  /** Whom the certificate must name. Default: the address. */
  hostname?: string;
  /** Certificates, as text, that are believed beside the well-known ones. */
  caCerts?: string[];
  alpnProtocols?: string[];
  unsafelyDisableHostnameVerification?: boolean;
}

/** `Deno.ConnectTlsOptions`. */
export interface ConnectTlsOptions extends StartTlsOptions {
  port: number;
  autoSelectFamily?: boolean;
  autoSelectFamilyAttemptDelay?: number;
}

/** `Deno.ServeHandlerInfo`. */
export interface ServeHandlerInfo {
  remoteAddr: NetAddr;
  /** Resolves when the response has been written whole; rejects when it never will be. */
  completed: Promise<void>;
}

/** `Deno.ServeHandler`. */
export type ServeHandler = (request: Request, info: ServeHandlerInfo) => Response | Promise<Response>;

/** `Deno.ServeTcpOptions`. */
export interface ServeOptions {
  transport?: "tcp";
  /** Default 8000. */
  port?: number;
  hostname?: string;
  reusePort?: boolean;
  tcpBacklog?: number;
  /** Ends the server at once: connections are closed, requests under way are over. */
  signal?: AbortSignal;
  /** Answers in the place of a handler that threw. Default: 500, and the error on the console. */
  onError?: (error: unknown) => Response | Promise<Response>;
  /** Default: says so on the console. */
  onListen?: (localAddr: NetAddr) => void;
  /** Taken for Deno's sake; nothing is compressed here. */
  automaticCompression?: boolean;
}

/** `Deno.HttpServer`. */
export interface HttpServer extends AsyncDisposable {
  finished: Promise<void>;
  addr: NetAddr;
  ref(): void;
  unref(): void;
  /** Takes no new connection, and resolves when all requests under way have been answered. */
  shutdown(): Promise<void>;
}

/** What has no place on a network of packets: `transport: "unix"` and `"vsock"` are refused by type and at run time. */
interface Elsewhere {
  transport: "unix" | "vsock" | "unixpacket";
}

type ServeElsewhere =
  | { transport?: "unix"; path: string }
  | { transport?: "vsock"; cid: number; port: number };
type AnyHandler = (request: Request, info: never) => Response | Promise<Response>;

/** Deno's networking calls, over a host. */
export interface DenoApi {
  listen(options: ListenOptions & { transport?: "tcp" }): TcpListener;
  listen(options: Elsewhere): never;
  connect(options: ConnectOptions): Promise<TcpConn>;
  connect(options: Elsewhere): Promise<never>;
  listenDatagram(options: DatagramOptions & { transport: "udp" }): DatagramConn;
  listenDatagram(options: Elsewhere): never;
  listenTls(options: ListenTlsOptions & TlsCertifiedKeyPem): TlsListener;
  connectTls(options: ConnectTlsOptions | (ConnectTlsOptions & TlsCertifiedKeyPem)): Promise<TlsConn>;
  startTls(conn: TcpConn, options?: StartTlsOptions): Promise<TlsConn>;
  resolveDns<T extends keyof DnsRecords>(
    query: string,
    recordType: T,
    options?: ResolveDnsOptions,
  ): Promise<DnsRecords[T][]>;
  /** A type that was never made a standard: refused. */
  resolveDns(query: string, recordType: "ANAME", options?: ResolveDnsOptions): Promise<never>;
  serve(handler: ServeHandler): HttpServer;
  serve(options: ServeElsewhere, handler: AnyHandler): never;
  serve(options: ServeElsewhere & { handler: AnyHandler }): never;
  serve(options: ServeOptions | (ServeOptions & TlsCertifiedKeyPem), handler: ServeHandler): HttpServer;
  serve(
    options: (ServeOptions | (ServeOptions & TlsCertifiedKeyPem)) & { handler: ServeHandler },
  ): HttpServer;
}
