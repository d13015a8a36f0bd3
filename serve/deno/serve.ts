import type { Host } from "../../net/socket/host.ts";
import type { NetAddr } from "../../net/socket/types.ts";
import type { Reach } from "../hibernation/wire.ts";
import { HttpEngine } from "../http/http_engine.ts";
import { listenOptions } from "../http/http_server.ts";
import { listenTls } from "../tls/tls.ts";
import { TlsWire } from "../tls/tls_wire.ts";
import type { HttpServer, ServeHandler, ServeOptions, TlsCertifiedKeyPem } from "./types.ts";

/** Deno's. */
const PORT_DEFAULT = 8_000;

/** Whoever has the connections: HTTP's engine over a listener. */
interface Served {
  readonly addr: NetAddr;
  stopListening(): void;
  ref(): void;
  unref(): void;
  /** Ends those that are awake: all, or those at which nothing is under way. */
  end(all: boolean): void;
}

/**
 * `Deno.serve` over a host. A kept connection sleeps between two requests, and then nothing of it is in memory; with TLS
 * its keys are.
 *
 * `shutdown()` leaves those that sleep asleep: the next process goes on with them.
 * @throws {AddrInUse} {AddrNotAvailable} {RangeError} {InvalidData}
 */
export function serve(
  host: Host,
  options: ServeOptions & Partial<TlsCertifiedKeyPem>,
  handler: ServeHandler,
): HttpServer {
  const { signal, onError, onListen, key, cert } = options;
  const secure = key !== undefined && cert !== undefined;
  const scheme = secure ? "https" : "http";
  let reach: Reach;
  const engine = new HttpEngine<undefined>(
    {
      fetch: (request, { remoteAddr, completed }) => handler(request, { remoteAddr, completed }),
      ...(onError === undefined ? {} : { onError }),
    },
    (id, action) => reach(id, action),
    host.clock,
    scheme,
  );
  const where = { port: PORT_DEFAULT, ...options };
  let served: Served;
  if (secure) [served, reach] = serveSecure(host, { ...where, key, cert }, engine);
  else [served, reach] = servePlain(host, where, engine);
  let finish!: () => void;
  const finished = new Promise<void>((resolve) => void (finish = resolve));
  let ending: Promise<void> | undefined;
  const server: HttpServer = {
    finished,
    addr: served.addr,
    ref: () => served.ref(),
    unref: () => served.unref(),
    shutdown() {
      return ending ??= (async () => {
        engine.closing = true;
        served.stopListening();
        served.end(false);
        while (engine.busy.size > 0) {
          await Promise.allSettled([...engine.busy.values()].map(({ completed }) => completed));
          await new Promise((resolve) => void setTimeout(resolve, 0)); // what was answered is let go of then
        }
        finish();
      })();
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  const abort = (): void => {
    engine.closing = true;
    if (ending === undefined) served.stopListening();
    served.end(true);
    ending ??= Promise.resolve();
    finish();
  };
  if (signal?.aborted) abort();
  else signal?.addEventListener("abort", abort, { once: true });
  if (onListen !== undefined) onListen(server.addr);
  else console.log(`Listening on ${scheme}://${server.addr.hostname}:${server.addr.port}/`);
  return server;
}

function servePlain(host: Host, options: ServeOptions, engine: HttpEngine<undefined>): [Served, Reach] {
  const server = host.serve({
    ...listenOptions(options),
    data: (connection, bytes) => engine.data(connection, bytes),
    drain: (connection) => engine.drain(connection),
    end: (connection) => engine.end(connection),
    close: (connection, error) => engine.close(connection, error),
  });
  host.drains.add((signal) => engine.drained(server, signal));
  const served: Served = {
    addr: server.addr,
    stopListening: () => server.close(),
    ref: () => server.ref(),
    unref: () => server.unref(),
    end(all) {
      for (const connection of server.awakeConnections()) {
        if (all) connection.abort();
        else if (!engine.busy.has(connection.id)) connection.close();
      }
    },
  };
  return [served, (id, action) => server.with(id, action)];
}

function serveSecure(
  host: Host,
  options: ServeOptions & TlsCertifiedKeyPem,
  engine: HttpEngine<undefined>,
): [Served, Reach] {
  const { key, cert } = options;
  const listener = listenTls(host, { ...listenOptions(options), key, cert, alpnProtocols: ["http/1.1"] });
  const wires = new Map<string, TlsWire>();
  const events = {
    data: engine.data.bind(engine),
    drain: engine.drain.bind(engine),
    end: engine.end.bind(engine),
    close(wire: TlsWire, error: Error | undefined) {
      wires.delete(wire.id);
      engine.close(wire, error);
    },
  };
  let next = 0;
  void (async () => {
    for await (const conn of listener) {
      const id = `${next++}`;
      wires.set(id, new TlsWire(id, conn, events as never));
    }
  })();
  const served: Served = {
    addr: listener.addr,
    stopListening: () => listener.close(),
    ref: () => listener.ref(),
    unref: () => listener.unref(),
    end(all) {
      for (const wire of [...wires.values()]) if (all || !engine.busy.has(wire.id)) wire.abort();
    },
  };
  const reach: Reach = (id, action) => {
    const wire = wires.get(id);
    if (wire === undefined) return false;
    action(wire);
    return true;
  };
  return [served, reach];
}
