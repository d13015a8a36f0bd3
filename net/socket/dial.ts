import type { Tcb } from "../tcp/tcb.ts";
import { checkTcpOptions } from "../tcp/options.ts";
import { sleepingTimeWait } from "../tcp/user.ts";
import { IPV6_ANY, isIpv6Handle } from "../wire/address.ts";
import { addressOf, checkPort, isLoopbackOf, LOOPBACK_HINT } from "./address.ts";
import { connectionError } from "./connection_error.ts";
import { ATTEMPT_DELAY_MS, openFirst } from "./dns/first.ts";
import type { Resolver } from "./dns/resolver.ts";
import { Endpoint } from "./endpoint.ts";
import type { EphemeralPorts } from "./ephemeral_ports.ts";
import { AddrInUse, AddrNotAvailable, Interrupted, NetworkUnreachable } from "./errors.ts";
import type { Host } from "./host.ts";
import type { Owners } from "./owners.ts";
import type { ConnectOptions } from "./types.ts";

/** Opens connections of a host: finds the address, a free port, or one whose TIME-WAIT may end. */
export class Dialer {
  readonly #host: Host;
  readonly #owners: Owners;
  readonly #ports: EphemeralPorts;
  readonly #dns: Resolver;
  readonly #ownAddress: string | undefined;

  /** @param ownAddress Where connections without a hostname go. */
  constructor(
    host: Host,
    owners: Owners,
    ports: EphemeralPorts,
    dns: Resolver,
    ownAddress: string | undefined,
  ) {
    this.#host = host;
    this.#owners = owners;
    this.#ports = ports;
    this.#dns = dns;
    this.#ownAddress = ownAddress;
  }

  /** Whether `hostname` has to be looked up: it is no address, nor this machine. */
  isName(hostname: string): boolean {
    return this.#host.stack.addresses.parse(hostname) === undefined && !this.#dns.isLoopback(hostname);
  }

  open(options: ConnectOptions): Promise<Endpoint> {
    const { signal, port } = options;
    const hostname = options.hostname ?? this.#ownAddress ?? this.#host.leases()[0]?.address;
    if (hostname === undefined) {
      throw new TypeError("Cannot connect without a hostname: this host has no address of its own");
    }
    checkPort(port, 1);
    const { localHostname, localPort = 0 } = options;
    checkPort(localPort, 0);
    if (options.tcpOptions !== undefined) checkTcpOptions(options.tcpOptions);
    if (options.durable) this.#host.checkDurable("connect", options.fastOpen !== undefined);
    if (this.isName(hostname)) return this.#openByName(hostname, options);
    const remote = addressOf(hostname, this.#host.stack.addresses);
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      this.#host.checkOpen();
      const nowMs = this.#host.clock.nowMs();
      const local = localHostname === undefined
        ? this.#host.stack.output.sourceTowards(remote)
        : this.#ownAddressOf(localHostname, remote);
      const what = `Cannot connect to ${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
      if (!this.#host.stack.output.isHost(remote)) {
        throw new NetworkUnreachable(
          `${what}: ${
            isLoopbackOf(remote, this.#host.stack.addresses) ? LOOPBACK_HINT : "not a host's address"
          }`,
        );
      }
      if (local === undefined || local === 0) throw new NetworkUnreachable(`${what}: no route`);
      const tcb = this.#connectFromFreePort(local, remote, nowMs, options);
      if (tcb === undefined && localPort !== 0) {
        throw new AddrInUse(`${what} from port ${localPort}: address already in use`);
      }
      if (tcb === undefined) {
        const asleep = this.#sleepingTimeWait(local, remote, port, nowMs);
        if (asleep < 0) throw new AddrNotAvailable(`${what}: no free port or no room for a connection`);
        return this.#whenAwake(asleep, signal, () => resolve(this.open(options)), reject);
      }
      const unsent = options.fastOpen?.slice(tcb.sendQueue.length);
      // An IPv4-mapped name is an IPv6 socket's: its ends are shown as such.
      const mapped = hostname.includes(":") && !isIpv6Handle(remote);
      const endpoint = new Endpoint(this.#host, tcb, mapped ? IPV6_ANY : local);
      const aborted = (): void => endpoint.abort();
      signal?.addEventListener("abort", aborted, { once: true });
      endpoint.onOpen((error) => {
        signal?.removeEventListener("abort", aborted);
        if (error === undefined) {
          if (unsent === undefined || unsent.length === 0) resolve(endpoint);
          else endpoint.writeAll(unsent).then(() => resolve(endpoint), reject);
        } else if (signal?.aborted) reject(signal.reason);
        else reject(this.#host.closed ? new Interrupted("operation canceled") : connectionError(error, what));
      });
      this.#host.setOwner(tcb, endpoint);
      this.#host.kick();
    });
  }

  /** A connection in TIME-WAIT whose ports are all that is left, and which sleeps; -1 when there is none. */
  #sleepingTimeWait(local: number, remote: number, port: number, nowMs: number): number {
    const { tcp } = this.#host.stack;
    return this.#ports.towards(local, remote, port, (candidate) => {
      if (tcp.listeners.find(local, candidate) !== undefined) return undefined;
      const record = sleepingTimeWait(tcp, local, candidate, remote, port, nowMs);
      return record < 0 ? undefined : record;
    }) ?? -1;
  }

  /** Wakes a connection, and calls `then` afterwards unless the host has been closed or `signal` says stop. */
  #whenAwake(
    record: number,
    signal: AbortSignal | undefined,
    then: () => void,
    reject: (reason: unknown) => void,
  ): void {
    const aborted = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", aborted, { once: true });
    this.#owners.whenAwake(record, () => {
      signal?.removeEventListener("abort", aborted);
      queueMicrotask(() => { // not inside the turn that woke it
        if (this.#host.closed) reject(new Interrupted("operation canceled"));
        else if (!signal?.aborted) then();
      });
    });
    this.#host.wake(record);
  }

  async #openByName(hostname: string, options: ConnectOptions): Promise<Endpoint> {
    this.#host.checkOpen();
    const { signal, autoSelectFamilyAttemptDelay = ATTEMPT_DELAY_MS } = options;
    const hold = this.#host.liveness.open(); // while nothing else of it is open
    const all = await this.#dns.lookup(hostname, signal).finally(() => hold.close());
    const open = (address: string, signal: AbortSignal): Promise<Endpoint> =>
      this.open({ ...options, hostname: address, signal });
    return openFirst(
      this.#host.clock,
      all,
      autoSelectFamilyAttemptDelay,
      signal,
      open,
      (late) => late.abort(),
    );
  }

  #connectFromFreePort(
    local: number,
    remote: number,
    nowMs: number,
    options: ConnectOptions,
  ): Tcb | undefined {
    const { port, localPort = 0, tcpOptions, fastOpen } = options;
    const { calls, tcp } = this.#host.stack;
    const from = (candidate: number): Tcb | undefined => {
      if (tcp.listeners.find(local, candidate) !== undefined) return undefined;
      const tcb = calls.connect(tcp, local, candidate, remote, port, nowMs, tcpOptions, fastOpen);
      if (tcb !== undefined && options.durable) calls.makeDurable(tcb);
      return tcb;
    };
    return localPort !== 0 ? from(localPort) : this.#ports.towards(local, remote, port, from);
  }

  /** @throws {AddrNotAvailable} When it is none of this host's, or not of the same family as `remote`. */
  #ownAddressOf(hostname: string, remote: number): number {
    const address = addressOf(hostname, this.#host.stack.addresses);
    if (this.#host.stack.isOurs(address) && isIpv6Handle(address) === isIpv6Handle(remote)) return address;
    throw new AddrNotAvailable(`Cannot connect from ${hostname}: not an address of this host towards there`);
  }
}
