import type { TcpSecrets } from "../tcp/secrets.ts";

/** RFC 6335: the dynamic ports. */
const PORT_FIRST = 49152;
const PORTS = 65536 - PORT_FIRST;
const ALL = { index: 0, count: 1 };

/** Finds free local ports where an off-path attacker cannot guess them (RFC 6056). */
export class EphemeralPorts {
  readonly #secrets: TcpSecrets;
  readonly #part: { readonly index: number; readonly count: number };
  #connects = 0;
  #binds = 0;

  /** @param part Which of `count` parts of the ports is ours: hosts that share an address must not choose the same. */
  constructor(secrets: TcpSecrets, part: { readonly index: number; readonly count: number } = ALL) {
    this.#secrets = secrets;
    this.#part = part;
  }

  /**
   * For a connection, algorithm 3: a secret offset per peer, and one counter, so that the search does
   * not start over.
   * @param take Takes a port, or returns `undefined` when it is not free.
   */
  towards<T>(
    local: number,
    remote: number,
    remotePort: number,
    take: (port: number) => T | undefined,
  ): T | undefined {
    const offset = this.#secrets.portOffset(local, remote, remotePort);
    for (let step = 0; step < PORTS; step++) {
      this.#connects = (this.#connects + 1) % PORTS;
      const taken = this.#take(PORT_FIRST + ((offset + this.#connects) % PORTS), take);
      if (taken !== undefined) return taken;
    }
    return undefined;
  }

  /** For a UDP socket or a listener, algorithm 1: a secret start each time, since the peer is not known. */
  forBinding<T>(address: number, take: (port: number) => T | undefined): T | undefined {
    const offset = this.#secrets.portOffset(address, this.#binds++ | 0, 0); // no connection has remote port 0
    for (let step = 0; step < PORTS; step++) {
      const taken = this.#take(PORT_FIRST + ((offset + step) % PORTS), take);
      if (taken !== undefined) return taken;
    }
    return undefined;
  }

  #take<T>(port: number, take: (port: number) => T | undefined): T | undefined {
    return port % this.#part.count === this.#part.index ? take(port) : undefined;
  }
}
