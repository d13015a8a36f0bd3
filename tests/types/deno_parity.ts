/**
 * Our API against Deno's own declarations: `deno check` fails when they drift apart. Never run; tsc, which
 * does not know Deno, leaves it out.
 */
import type { Host } from "../../net/socket/host.ts";
import type { DenoApi, HttpServer, ServeHandler, TlsConn, TlsListener } from "../../serve/deno/types.ts";
import type { errors } from "../../mod.ts";
import type { ConnectOptions, DatagramConn, ListenOptions, TcpConn, TcpListener } from "../../mod.ts";

declare const host: Host;
declare const conn: TcpConn;
declare const listener: TcpListener;
declare const datagrams: DatagramConn;

/** Compiles when a value of type `Ours` can stand where `Deno`'s is asked for. */
type Fits<Ours extends Theirs, Theirs> = Ours;

// What we hand out goes wherever Deno's goes.
export type Conn = Fits<TcpConn, Deno.TcpConn>;
export type PlainConn = Fits<TcpConn, Deno.Conn<Deno.NetAddr>>;
export type Listener = Fits<TcpListener, Deno.TcpListener>;
export type PlainListener = Fits<TcpListener, Deno.Listener<Deno.TcpConn, Deno.NetAddr>>;
export type Datagrams = Fits<DatagramConn, Deno.DatagramConn>;

// And Deno's goes wherever ours is asked for: code written for us runs on Deno's sockets.
export type ConnBack = Fits<Deno.TcpConn, TcpConn>;
export type ListenerBack = Fits<Deno.TcpListener, TcpListener>;

// Options that Deno takes, we take.
export type Listens = Fits<Deno.TcpListenOptions, ListenOptions>;
export type ListensBack = Fits<ListenOptions, Deno.TcpListenOptions>;
export type Connects = Fits<Deno.ConnectOptions, ConnectOptions>;
export type ConnectsBack = Fits<ConnectOptions, Deno.ConnectOptions>;

// The calls themselves.
type DenoListen = (options: Deno.TcpListenOptions & { transport?: "tcp" }) => Deno.TcpListener;
type DenoConnect = (options: Deno.ConnectOptions) => Promise<Deno.TcpConn>;
type DenoListenDatagram = (options: Deno.UdpListenOptions & { transport: "udp" }) => Deno.DatagramConn;
export type Listen = Fits<Host["listen"], DenoListen>;
export type Connect = Fits<Host["connect"], DenoConnect>;
export type ListenDatagram = Fits<Host["listenDatagram"], DenoListenDatagram>;
export type DenosListen = Fits<typeof Deno.listen, DenoListen>; // or the three lines above prove nothing
export type DenosConnect = Fits<typeof Deno.connect, DenoConnect>;
export type DenosListenDatagram = Fits<typeof Deno.listenDatagram, DenoListenDatagram>;

// All of it under Deno's own names: whoever takes the module `Deno` for its network takes this.
export type Whole = Fits<
  DenoApi,
  Pick<
    typeof Deno,
    "listen" | "connect" | "listenDatagram" | "listenTls" | "connectTls" | "resolveDns" | "serve"
  >
>;
// `startTls` asks for one of ours: its keys go over our connection.
export type StartTls = Fits<
  DenoApi["startTls"],
  (conn: TcpConn, options?: Deno.StartTlsOptions) => Promise<Deno.TlsConn>
>;
export type Tls = Fits<TlsConn, Deno.TlsConn>;
export type TlsBack = Fits<Deno.TlsConn, TlsConn>;
export type SecureListener = Fits<TlsListener, Deno.TlsListener>;
export type SecureListenerBack = Fits<Deno.TlsListener, TlsListener>;
export type Http = Fits<HttpServer, Deno.HttpServer<Deno.NetAddr>>;
export type HttpBack = Fits<Deno.HttpServer<Deno.NetAddr>, HttpServer>;
export type Handles = Fits<Deno.ServeHandler<Deno.NetAddr>, ServeHandler>;
export type HandlesBack = Fits<ServeHandler, Deno.ServeHandler<Deno.NetAddr>>;

// Functions written for Deno.
async function echo(listener: Deno.Listener<Deno.TcpConn, Deno.NetAddr>): Promise<void> {
  for await (const conn of listener) await conn.readable.pipeTo(conn.writable);
}
async function greet(conn: Deno.Conn): Promise<void> {
  using held = conn;
  await held.write(new TextEncoder().encode("hello"));
}
async function answer(datagrams: Deno.DatagramConn): Promise<void> {
  for await (const [bytes, address] of datagrams) await datagrams.send(bytes, address);
}
export async function use(): Promise<void> {
  await echo(listener);
  await echo(host.listen({ port: 7, hostname: "0.0.0.0", tcpBacklog: 16 }));
  await greet(conn);
  await greet(await host.connect({ port: 7 })); // this host, as with Deno
  await greet(await host.connect({ port: 7, hostname: "10.0.0.1", signal: AbortSignal.timeout(1) }));
  await answer(datagrams);
  await answer(host.listenDatagram({ port: 7, transport: "udp" }));
}

// Every error of ours that Deno knows by name is made the way Deno's is.
type Shared = Exclude<keyof typeof errors, "HostUnreachable">;
export const shared: Record<Shared, new (message: string) => Error> = Deno.errors;
