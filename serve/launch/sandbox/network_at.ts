import { AddrNotAvailable } from "../../../net/socket/errors.ts";
import type { Handlers } from "../../../net/socket/handlers.ts";
import type { Host } from "../../../net/socket/host.ts";
import type {
  ConnectDatagramOptions,
  ConnectOptions,
  DatagramOptions,
  ListenOptions,
} from "../../../net/socket/types.ts";

/** Addresses that mean all of a host's. */
const ALL: ReadonlySet<string> = new Set(["0.0.0.0", "::", "localhost", "127.0.0.1", "::1"]);

/** What of a service listens: it ends with it. */
export interface Opened {
  close(): void;
}

/** The part of a service that its network is for. */
export interface Tenant {
  readonly address: string;
  /** Is told of all that listens, to close it with the service. */
  readonly opened: Set<Opened>;
  /** Aborted when the service is over: it opens nothing from then on. */
  readonly signal: AbortSignal;
}

/**
 * A host as a service sees it that has one of its addresses: what listens everywhere listens there. A connection that it
 * opens leaves from the address that the host's routes say, as on a machine with several addresses.
 */
export function networkAt(host: Host, { address, opened, signal }: Tenant): Host {
  const at = <O extends { hostname?: string }>(options: O | undefined): O & { hostname: string } => {
    signal.throwIfAborted();
    const wanted = options?.hostname;
    if (wanted !== undefined && wanted !== address && !ALL.has(wanted)) {
      throw new AddrNotAvailable(`Cannot listen on "${wanted}": this service has "${address}"`);
    }
    return { ...options as O, hostname: address };
  };
  const kept = <T extends Opened>(one: T): T => {
    opened.add(one);
    return one;
  };
  const network: Partial<Host> = {
    listen: (options?: ListenOptions) => kept(host.listen(at(options))),
    serve: (options: ListenOptions & Handlers) => kept(host.serve(at(options))),
    listenDatagram: (options?: DatagramOptions) => kept(host.listenDatagram(at(options))),
    connect: (options: ConnectOptions) => host.connect({ hostname: address, ...options }),
    connectDatagram: (options: ConnectDatagramOptions) =>
      host.connectDatagram({ localHostname: address, ...options }),
    open: (options) => host.open({ hostname: address, ...options }),
  };
  // All else is the host's own, and so is `this` in it: it has private members.
  return new Proxy(host, {
    get(target, name) {
      if (Object.hasOwn(network, name)) return network[name as keyof Host];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
