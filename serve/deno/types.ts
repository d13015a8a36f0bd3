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
  /** What was agreed on, if anything. */
  alpnProtocol: string | null;
}

/** `Deno.TlsConn`. */
export interface TlsConn extends Omit<TcpConn, "setNoDelay" | "setKeepAlive"> {
  /** Resolves when the handshake is over, rejects when it has failed. Need not be called: reading waits for it too. */
  handshake(): Promise<TlsHandshakeInfo>;
}

/** `Deno.TlsListener`. */
export interface TlsListener extends AsyncIterable<TlsConn>, Disposable {
  /** The next connection. */
  accept(): Promise<TlsConn>;
  /** Takes no more connections. */
  close(): void;
  /** Where it listens. */
  readonly addr: NetAddr;
  /** It keeps the process alive, as it does by default. */
  ref(): void;
  /** It is no reason to keep the process alive. */
  unref(): void;
  /** One after the other, until it is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<TlsConn>;
}

/** `Deno.TlsCertifiedKeyPem`: a key and its chain of certificates, as text. */
export interface TlsCertifiedKeyPem {
  /** PEM is the only one. */
  keyFormat?: "pem";
  /** The private key, PEM. */
  key: string;
  /** The certificate and those that have signed it, PEM. */
  cert: string;
}

/** `Deno.ListenTlsOptions`, and what `Host.listen` takes besides. */
export interface ListenTlsOptions extends ListenOptions {
  /** TCP is the only one. */
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
  /** What may be spoken, the preferred one first. */
  alpnProtocols?: string[];
  /** Takes a certificate of another name. */
  unsafelyDisableHostnameVerification?: boolean;
}

/** `Deno.ConnectTlsOptions`. */
export interface ConnectTlsOptions extends StartTlsOptions {
  /** 1 to 65,535. */
  port: number;
  /** As `Deno.ConnectOptions`. */
  autoSelectFamily?: boolean;
  /** As `Deno.ConnectOptions`. */
  autoSelectFamilyAttemptDelay?: number;
}

/** `Deno.ServeHandlerInfo`. */
export interface ServeHandlerInfo {
  /** The client's end. */
  remoteAddr: NetAddr;
  /** Resolves when the response has been written whole; rejects when it never will be. */
  completed: Promise<void>;
}

/** `Deno.ServeHandler`. */
export type ServeHandler = (request: Request, info: ServeHandlerInfo) => Response | Promise<Response>;

/** `Deno.ServeTcpOptions`. */
export interface ServeOptions {
  /** TCP is the only one. */
  transport?: "tcp";
  /** Default 8000. */
  port?: number;
  /** One of the addresses; default all of them. */
  hostname?: string;
  /** As `Deno.ServeOptions`; there is one listener on a port. */
  reusePort?: boolean;
  /** Handshakes and connections that may wait. */
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
  /** Resolves when it has ended. */
  finished: Promise<void>;
  /** Where it listens. */
  addr: NetAddr;
  /** It keeps the process alive, as it does by default. */
  ref(): void;
  /** It is no reason to keep the process alive. */
  unref(): void;
  /** Takes no new connection, and resolves when all requests under way have been answered. */
  shutdown(): Promise<void>;
}

/** What has no place on a network of packets: `transport: "unix"` and `"vsock"` are refused by type and at run time. */
export interface Elsewhere {
  /** What is not ours to serve. */
  transport: "unix" | "vsock" | "unixpacket";
}

/** Where `Deno.serve` can serve, and a host cannot. */
export type ServeElsewhere =
  | { transport?: "unix"; path: string }
  | { transport?: "vsock"; cid: number; port: number };
/** A handler of such a server. */
export type AnyHandler = (request: Request, info: never) => Response | Promise<Response>;

/** Deno's networking calls, over a host. */
export interface DenoApi {
  /** As `Deno.listen`, for TCP. */
  listen(options: ListenOptions & { transport?: "tcp" }): TcpListener;
  /** As `Deno.listen`, for TCP. */
  listen(options: Elsewhere): never;
  /** As `Deno.connect`, for TCP. */
  connect(options: ConnectOptions): Promise<TcpConn>;
  /** As `Deno.connect`, for TCP. */
  connect(options: Elsewhere): Promise<never>;
  /** As `Deno.listenDatagram`, for UDP. */
  listenDatagram(options: DatagramOptions & { transport: "udp" }): DatagramConn;
  /** As `Deno.listenDatagram`, for UDP. */
  listenDatagram(options: Elsewhere): never;
  /** As `Deno.listenTls`. */
  listenTls(options: ListenTlsOptions & TlsCertifiedKeyPem): TlsListener;
  /** As `Deno.connectTls`. */
  connectTls(options: ConnectTlsOptions | (ConnectTlsOptions & TlsCertifiedKeyPem)): Promise<TlsConn>;
  /** As `Deno.startTls`. */
  startTls(conn: TcpConn, options?: StartTlsOptions): Promise<TlsConn>;
  /** As `Deno.resolveDns`. */
  resolveDns<T extends keyof DnsRecords>(
    query: string,
    recordType: T,
    options?: ResolveDnsOptions,
  ): Promise<DnsRecords[T][]>;
  /** A type that was never made a standard: refused. */
  resolveDns(query: string, recordType: "ANAME", options?: ResolveDnsOptions): Promise<never>;
  /** As `Deno.serve`. */
  serve(handler: ServeHandler): HttpServer;
  /** As `Deno.serve`. */
  serve(options: ServeElsewhere, handler: AnyHandler): never;
  /** As `Deno.serve`. */
  serve(options: ServeElsewhere & { handler: AnyHandler }): never;
  /** As `Deno.serve`. */
  serve(options: ServeOptions | (ServeOptions & TlsCertifiedKeyPem), handler: ServeHandler): HttpServer;
  /** As `Deno.serve`. */
  serve(
    options: (ServeOptions | (ServeOptions & TlsCertifiedKeyPem)) & { handler: ServeHandler },
  ): HttpServer;
}
