import type { Alarm } from "../../base/clock.ts";
import { DhcpClient } from "../dhcp/client.ts";
import type { DhcpLease } from "../dhcp/lease.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "../dhcp/message.ts";
import { parseIpv4 } from "../wire/address.ts";
import { Interrupted } from "./errors.ts";
import type { Host } from "./host.ts";
import { throwLater } from "./throw_later.ts";
import type { UdpConn } from "./types.ts";

export type { DhcpLease } from "../dhcp/lease.ts";

/** How an interface is configured by DHCP. */
export interface DhcpOptions {
  /** Its number or name. Default 0. */
  interface?: number | string;
  /** What the server may call this host. */
  hostName?: string;
  /** A lease of before a restart: asked for again first. */
  lease?: DhcpLease;
  /** Ends the attempt; `configureByDhcp` then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** A lease has come or was extended: the moment to keep it. */
  onLease?(lease: DhcpLease): void;
  /** The address is no longer ours, and another one is asked for, except after "released". */
  onLost?(why: "expired" | "refused" | "conflict" | "released"): void;
}

/**
 * One interface that DHCP configures (RFC 2131): while this lives, the lease is renewed, and its address,
 * routes, MTU and name servers are the host's.
 */
export class DhcpConfiguration {
  /** The interface that it configures. */
  readonly interfaceIndex: number;
  readonly #host: Host;
  readonly #options: DhcpOptions;
  readonly #client: DhcpClient;
  readonly #everyone: UdpConn;
  #alone: UdpConn | undefined; // on the leased address, for answers to us alone
  #alarm: Alarm | undefined;
  #stopped = false;
  readonly #first: Promise<void>;
  #settle!: { resolve: () => void; reject: (error: unknown) => void };

  /** @internal @throws {TypeError} When there is no such interface. */
  constructor(host: Host, options: DhcpOptions) {
    this.#host = host;
    this.#options = options;
    const { interfaces } = host.stack.output;
    const { interface: which = 0, hostName, lease } = options;
    const through = interfaces.find(({ index, name }) => which === index || which === name);
    if (through === undefined) throw new TypeError(`Cannot configure interface ${which}: there is none`);
    this.interfaceIndex = through.index;
    const hardwareAddress = new Uint8Array(6);
    const view = new DataView(hardwareAddress.buffer);
    view.setUint16(0, through.macHi);
    view.setInt32(2, through.macLo);
    this.#client = new DhcpClient(
      {
        hardwareAddress,
        probes: through.neighbors !== undefined,
        ...(hostName === undefined ? {} : { hostName }),
        ...(lease === undefined ? {} : { lease }),
      },
      {
        send: (bytes, source, server) => this.#send(bytes, source, server),
        probe: (address) => host.stack.arp.probe(this.interfaceIndex, address),
        bound: (given) => this.#bound(given),
        lost: (why) => this.#lost(why),
      },
      (limit) => host.stack.draws.below(limit),
    );
    this.#first = new Promise((resolve, reject) => this.#settle = { resolve, reject });
    this.#first.catch(() => {}); // told to who waits, if anybody
    this.#everyone = host.listenDatagram({ port: DHCP_CLIENT_PORT, reuseAddress: true });
    void this.#listen(this.#everyone);
    this.#client.start(host.clock.nowMs());
    this.#arm();
  }

  /** The lease in use. */
  get lease(): DhcpLease | undefined {
    return this.#client.lease;
  }

  /** Resolves with the first lease. */
  async ready(): Promise<void> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    const aborted = (): void => this.#settle.reject(signal!.reason);
    signal?.addEventListener("abort", aborted, { once: true });
    try {
      await this.#first;
    } catch (error) {
      this.stop();
      throw error;
    } finally {
      signal?.removeEventListener("abort", aborted);
    }
  }

  /** Gives the lease back; the host loses its address at once. */
  release(): void {
    this.#client.release();
    this.stop();
  }

  /** Lets the lease be: nothing is renewed any more, and the address stays until somebody else gets it. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#client.stop();
    this.#alarm?.cancel();
    this.#settle.reject(new Interrupted("operation canceled"));
    if (this.#host.closed) return;
    this.#everyone.close();
    this.#alone?.close();
  }

  /** As `stop()`. */
  [Symbol.dispose](): void {
    this.stop();
  }

  async #listen(socket: UdpConn): Promise<void> {
    try {
      for await (const [bytes, from] of socket) {
        if (this.#stopped) return;
        if (from.port !== DHCP_SERVER_PORT) continue;
        this.#client.input(bytes, this.#host.clock.nowMs());
        this.#arm();
      }
    } catch (error) {
      if (!this.#host.closed) throwLater(error);
    }
    if (this.#host.closed) this.stop();
  }

  #arm(): void {
    if (this.#stopped) return;
    this.#alarm?.cancel();
    this.#alarm = undefined;
    const deadlineMs = this.#client.nextDeadlineMs();
    if (deadlineMs === Infinity) return;
    this.#alarm = this.#host.clock.at(deadlineMs, () => {
      if (this.#host.closed) return this.stop();
      const nowMs = this.#host.clock.nowMs();
      const claimed = this.#host.stack.arp.claimed(this.interfaceIndex);
      if (claimed !== 0) this.#client.conflict(claimed, nowMs);
      else this.#client.advance(nowMs);
      this.#arm();
    });
  }

  #send(bytes: Uint8Array, source: number, server: number): void {
    const { stack, clock } = this.#host;
    const nowMs = clock.nowMs();
    if (server !== 0) stack.udp.send(source, DHCP_CLIENT_PORT, server, DHCP_SERVER_PORT, bytes, nowMs);
    else stack.udp.broadcast(this.interfaceIndex, source, DHCP_CLIENT_PORT, DHCP_SERVER_PORT, bytes, nowMs);
    this.#host.kick();
  }

  #bound(lease: DhcpLease): void {
    try {
      this.#host.setLease(this.interfaceIndex, lease);
    } catch (error) { // an address that this host has already, perhaps
      this.#host.setLease(this.interfaceIndex, undefined);
      this.#settle.reject(error);
      return this.stop();
    }
    this.#alone?.close();
    this.#alone = this.#host.listenDatagram({
      hostname: lease.address,
      port: DHCP_CLIENT_PORT,
      reuseAddress: true,
    });
    void this.#listen(this.#alone);
    this.#host.stack.arp.announce(this.interfaceIndex, parseIpv4(lease.address)!);
    this.#tell(() => this.#options.onLease?.(lease));
    this.#settle.resolve();
  }

  #lost(why: "expired" | "refused" | "conflict" | "released"): void {
    this.#alone?.close();
    this.#alone = undefined;
    this.#host.setLease(this.interfaceIndex, undefined);
    this.#tell(() => this.#options.onLost?.(why));
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (mistake) {
      throwLater(mistake); // the lease has to be put in place yet
    }
  }
}
