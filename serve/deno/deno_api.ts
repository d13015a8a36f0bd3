import type { ResolveDnsOptions } from "../../net/socket/dns/resolver.ts";
import { NotSupported } from "../../net/socket/errors.ts";
import * as errors from "../../net/socket/errors.ts";
import type { Host } from "../../net/socket/host.ts";
import type { ConnectOptions, DatagramOptions, ListenOptions, TcpConn } from "../../net/socket/types.ts";
import { connectTls, listenTls, startTls } from "../tls/tls.ts";
import { serve } from "./serve.ts";
import type {
  ConnectTlsOptions,
  DenoApi,
  ListenTlsOptions,
  ServeHandler,
  ServeOptions,
  StartTlsOptions,
  TlsCertifiedKeyPem,
} from "./types.ts";

/**
 * Deno's networking calls over a host, under Deno's names, with its types, options and error classes: code written for
 * `Deno` runs over the stack when it is handed this in its place.
 *
 * What cannot be the same: `127.0.0.1` and `localhost` are the machine's, not this host's; a host on which nothing has
 * been told `unref` keeps its process alive until it is closed; TLS is `node:tls`'s, so a refused certificate ends the connection without an alert.
 *
 * @example
 * ```ts
 * import { Host, pipe } from "@torpor/torpor";
 * import { denoApi } from "@torpor/torpor/serve/deno/deno_api.ts";
 * const [link] = pipe();
 * using host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.1/24" }] });
 * const Deno = denoApi(host);
 * using listener = Deno.listen({ port: 7 });
 * ```
 */
export function denoApi(host: Host): DenoApi & { readonly errors: typeof errors } {
  const api = {
    errors,
    listen(options: ListenOptions & { transport?: string }) {
      onlyOn("tcp", options.transport, "listen");
      return host.listen(options as ListenOptions);
    },
    async connect(options: ConnectOptions & { transport?: string }) {
      onlyOn("tcp", options.transport, "connect");
      return await host.connect(options);
    },
    listenDatagram(options: DatagramOptions & { transport?: string }) {
      onlyOn("udp", options.transport, "listen for datagrams");
      return host.listenDatagram(options);
    },
    listenTls(options: ListenTlsOptions & TlsCertifiedKeyPem) {
      onlyOn("tcp", options.transport, "listen");
      return listenTls(host, options);
    },
    connectTls: (options: ConnectTlsOptions) => connectTls(host, options),
    startTls: (conn: TcpConn, options?: StartTlsOptions) => startTls(conn, options),
    serve(
      first: ServeHandler | (ServeOptions & Partial<TlsCertifiedKeyPem> & { handler?: ServeHandler }),
      second?: ServeHandler,
    ) {
      const options = typeof first === "function" ? {} : first;
      const handler = typeof first === "function" ? first : second ?? first.handler;
      if ("path" in options || "cid" in options) onlyOn("tcp", "unix", "serve");
      onlyOn("tcp", options.transport, "serve");
      if (typeof handler !== "function") throw new TypeError("A handler function must be provided");
      return serve(host, options, handler);
    },
    async resolveDns(query: string, recordType: "A", options?: ResolveDnsOptions) {
      if ((recordType as string) === "ANAME") {
        throw new NotSupported("Cannot resolve ANAME records: they were never made a standard");
      }
      return await host.resolveDns(query, recordType, options);
    },
  };
  return api as unknown as DenoApi & { readonly errors: typeof errors };
}

/** @throws {NotSupported} */
function onlyOn(mine: "tcp" | "udp", transport: string | undefined, what: string): void {
  if (transport === undefined || transport === mine) return;
  throw new NotSupported(`Cannot ${what} on "${transport}": a host has ${mine} here`);
}
