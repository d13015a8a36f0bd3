import {
  connect as connectOver,
  createSecureContext,
  rootCertificates,
  type SecureContext,
  TLSSocket,
} from "node:tls";
import { TcpConnection } from "../../net/socket/conn.ts";
import type { Endpoint } from "../../net/socket/endpoint.ts";
import { InvalidData } from "../../net/socket/errors.ts";
import type { Host } from "../../net/socket/host.ts";
import { acceptAll, type ConnListener } from "../../net/socket/listener.ts";
import { StackSocket } from "../../net/socket/stack_socket.ts";
import type { NetAddr, TcpConn } from "../../net/socket/types.ts";
import type {
  ConnectTlsOptions,
  ListenTlsOptions,
  StartTlsOptions,
  TlsCertifiedKeyPem,
  TlsListener,
} from "../deno/types.ts";
import { TlsConnection } from "./tls_connection.ts";

/** Our side may go on when the peer's has ended: what to do then is the application's affair. */
const HALF_OPEN = { allowHalfOpen: true };

/**
 * Connects as `Deno.connectTls` does: resolves when TCP is connected, before the handshake is over.
 * @throws {ConnectionRefused} {TimedOut} and what else `Host.connect` throws; {InvalidData} for a key that is none.
 */
export async function connectTls(
  host: Host,
  options: ConnectTlsOptions & Partial<TlsCertifiedKeyPem>,
): Promise<TlsConnection> {
  const own = options.key === undefined ? {} : checkPem(options as TlsCertifiedKeyPem);
  const { port, hostname, autoSelectFamily, autoSelectFamilyAttemptDelay } = options;
  const endpoint = await host.open({
    port,
    ...(hostname === undefined ? {} : { hostname }),
    ...(autoSelectFamily === undefined ? {} : { autoSelectFamily }),
    ...(autoSelectFamilyAttemptDelay === undefined ? {} : { autoSelectFamilyAttemptDelay }),
  });
  return client(endpoint, options, own);
}

/**
 * Has a connection go on in TLS, as `Deno.startTls` does: `conn` is used up by it.
 * @throws {BadResource} When `conn` is closed or has been used up. {TypeError} When it is not a host's.
 */
// deno-lint-ignore require-await -- errors are rejections, as Deno's are
export async function startTls(conn: TcpConn, options: StartTlsOptions = {}): Promise<TlsConnection> {
  if (!(conn instanceof TcpConnection)) throw new TypeError("Need a connection of a host");
  return client(conn.takeEndpoint(), options, {});
}

/**
 * Listens as `Deno.listenTls` does.
 * @throws {AddrInUse} {AddrNotAvailable} {RangeError} as `Host.listen`; {InvalidData} for a key or certificate that is none.
 */
export function listenTls(host: Host, options: ListenTlsOptions & TlsCertifiedKeyPem): TlsConnListener {
  const { cert: _cert, key: _key, keyFormat: _format, alpnProtocols, ...listen } = options;
  const { secureContext } = certified(options);
  return new TlsConnListener(host.listen(listen), secureContext, alpnProtocols);
}

/** `Deno.TlsListener`: the connections of a listener, in TLS. */
export class TlsConnListener implements TlsListener {
  readonly addr: NetAddr;
  readonly #listener: ConnListener;
  readonly #secureContext: SecureContext;
  readonly #protocols: string[] | undefined;

  constructor(listener: ConnListener, secureContext: SecureContext, protocols: string[] | undefined) {
    this.#listener = listener;
    this.#secureContext = secureContext;
    this.#protocols = protocols;
    this.addr = listener.addr;
  }

  /** The next connection, before its handshake is over: a client that is slow keeps nobody waiting. */
  async accept(): Promise<TlsConnection> {
    const { endpoint } = await this.#listener.accept();
    const beneath = new StackSocket(endpoint.host, endpoint, HALF_OPEN);
    const socket = new TLSSocket(beneath as never, {
      isServer: true,
      secureContext: this.#secureContext,
      ...HALF_OPEN,
      ...(this.#protocols === undefined ? {} : { ALPNProtocols: this.#protocols }),
    });
    return new TlsConnection(socket, beneath, "secure", endpoint);
  }

  close(): void {
    this.#listener.close();
  }
  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
  }
  ref(): void {
    this.#listener.ref();
  }
  unref(): void {
    this.#listener.unref();
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<TlsConnection> {
    return acceptAll(this);
  }
}

function client(
  endpoint: Endpoint,
  options: StartTlsOptions,
  own: Partial<TlsCertifiedKeyPem>,
): TlsConnection {
  const { hostname = endpoint.remoteAddr.hostname, caCerts = [], alpnProtocols } = options;
  const beneath = new StackSocket(endpoint.host, endpoint, HALF_OPEN);
  const socket = connectOver({
    socket: beneath as never,
    ...HALF_OPEN,
    // An address is verified but not sent: RFC 6066 section 3 has names only.
    ...(isAddress(hostname) ? { host: hostname } : { servername: hostname, host: hostname }),
    ...own,
    ...(caCerts.length === 0 ? {} : { ca: [...rootCertificates, ...caCerts] }), // in addition, as with Deno
    ...(alpnProtocols === undefined ? {} : { ALPNProtocols: alpnProtocols }),
    ...(options.unsafelyDisableHostnameVerification ? { checkServerIdentity: () => undefined } : {}),
  });
  return new TlsConnection(socket, beneath, "secureConnect", endpoint);
}

function isAddress(hostname: string): boolean {
  return hostname.includes(":") || /^\d+\.\d+\.\d+\.\d+$/.test(hostname);
}

/** @throws {InvalidData} */
function checkPem({ key, cert }: TlsCertifiedKeyPem): { key: string; cert: string } {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(key)) throw new InvalidData("No keys found in key data");
  if (!/-----BEGIN CERTIFICATE-----/.test(cert)) {
    throw new InvalidData("No certificates found in certificate data");
  }
  return { key, cert };
}

/** @throws {InvalidData} */
function certified(pem: TlsCertifiedKeyPem): { secureContext: SecureContext } {
  try {
    return { secureContext: createSecureContext(checkPem(pem)) };
  } catch (error) {
    if (error instanceof InvalidData) throw error;
    const message = `Cannot use the certificate: ${(error as Error).message}`;
    throw Object.assign(new InvalidData(message), { cause: error });
  }
}
