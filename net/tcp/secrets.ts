import type { Entropy } from "../../base/random.ts";
import { SipHash } from "../../base/siphash.ts";
import type { AddressTable } from "../ip/address_table.ts";

/**
 * What an off-path attacker must not guess: initial sequence numbers, timestamp offsets, ports. Handles of IPv6
 * addresses come and go; what is hashed are their digests.
 */
export class TcpSecrets {
  readonly #addresses: Pick<AddressTable, "digest">;
  readonly #sequence: SipHash;
  readonly #timestamp: SipHash;
  readonly #port: SipHash;
  readonly #cookie: SipHash;
  readonly #words: Int32Array = new Int32Array(5);
  // The pair of hosts that was asked about last, as digests: the next connection is mostly theirs, too.
  #pairLocal = 0;
  #pairRemote = 0;
  #pairOffset: number | undefined;

  constructor(entropy: Entropy, addresses: Pick<AddressTable, "digest"> = { digest: (address) => address }) {
    this.#addresses = addresses;
    const key = (): SipHash => {
      const bytes = new Uint8Array(16);
      entropy.fill(bytes);
      return new SipHash(new Int32Array(bytes.buffer));
    };
    this.#sequence = key();
    this.#timestamp = key();
    this.#port = key();
    this.#cookie = key();
  }

  /** RFC 6528: a clock of 4 microseconds plus a keyed hash of the connection. */
  initialSequence(local: number, remote: number, ports: number, nowMs: number): number {
    return (Math.floor(nowMs * 250) + this.#hash(this.#sequence, local, remote, ports)) | 0;
  }

  /** RFC 7323 section 5.4: timestamps start elsewhere for every pair of hosts. */
  timestampOffset(local: number, remote: number): number {
    const from = this.#addresses.digest(local);
    const to = this.#addresses.digest(remote);
    if (this.#pairOffset === undefined || from !== this.#pairLocal || to !== this.#pairRemote) {
      this.#pairLocal = from;
      this.#pairRemote = to;
      this.#pairOffset = this.#timestamp.words3(from, to, 0);
    }
    return this.#pairOffset;
  }

  /** RFC 6056 algorithm 3: where the search for a free port starts, as an unsigned number. */
  portOffset(local: number, remote: number, remotePort: number): number {
    return this.#hash(this.#port, local, remote, remotePort) >>> 0;
  }

  /**
   * What a SYN cookie is made of: a hash of the connection, of the peer's ISN and of a counter, so that each of its
   * ticks brings a new secret.
   */
  synCookie(local: number, remote: number, ports: number, sequence: number, tick: number): number {
    const words = this.#words;
    words[0] = this.#addresses.digest(local);
    words[1] = this.#addresses.digest(remote);
    words[2] = ports;
    words[3] = sequence;
    words[4] = tick | 0;
    return this.#cookie.words(words, 5);
  }

  /** A number below `limit` that the outside cannot guess, another for each `tick`. */
  below(limit: number, tick: number): number {
    return (this.#cookie.words3(0, 0, tick | 0) >>> 0) % limit; // a cookie hashes five words
  }

  #hash(under: SipHash, local: number, remote: number, rest: number): number {
    return under.words3(this.#addresses.digest(local), this.#addresses.digest(remote), rest);
  }
}
