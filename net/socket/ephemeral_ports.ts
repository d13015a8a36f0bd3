import type { TcpSecrets } from "../tcp/secrets.ts";

/** RFC 6335: the dynamic ports. */
const PORT_FIRST = 49152;
const PORTS = 65536 - PORT_FIRST;

/** Finds free local ports where an off-path attacker cannot guess them (RFC 6056). */
export class EphemeralPorts {
  readonly #secrets: TcpSecrets;
  #connects = 0;
  #binds = 0;

  constructor(secrets: TcpSecrets) {
    this.#secrets = secrets;
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
      const taken = take(PORT_FIRST + ((offset + this.#connects) % PORTS));
      if (taken !== undefined) return taken;
    }
    return undefined;
  }

  /** For a UDP socket or a listener, algorithm 1: a secret start each time, since the peer is not known. */
  forBinding<T>(address: number, take: (port: number) => T | undefined): T | undefined {
    const offset = this.#secrets.portOffset(address, this.#binds++ | 0, 0); // no connection has remote port 0
    for (let step = 0; step < PORTS; step++) {
      const taken = take(PORT_FIRST + ((offset + step) % PORTS));
      if (taken !== undefined) return taken;
    }
    return undefined;
  }
}
