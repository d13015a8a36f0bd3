import type { UdpSocket } from "../udp/udp.ts";
import { isMulticast, isUnspecified, parseIpv4 } from "../wire/address.ts";
import { AddrInUse, AddrNotAvailable, NetworkUnreachable } from "./errors.ts";
import type { Host } from "./host.ts";
import type { MulticastV4Membership } from "./types.ts";

/** Groups that one socket may be in: Linux's igmp_max_memberships. */
export const SOCKET_GROUPS_MAX = 20;

/** The groups that one datagram socket is in. */
export class Memberships {
  readonly #host: Host;
  readonly #socket: UdpSocket;
  readonly #joined: { readonly group: number; readonly interfaceIndex: number }[] = [];

  constructor(host: Host, socket: UdpSocket) {
    this.#host = host;
    this.#socket = socket;
  }

  /**
   * @param network An address of the interface, its name, or "0.0.0.0" for the one that the route says.
   * @throws {TypeError} {AddrInUse} {AddrNotAvailable} {NetworkUnreachable} {RangeError}
   */
  joinV4(text: string, network: string): MulticastV4Membership {
    const { stack, clock } = this.#host;
    const group = parseIpv4(text);
    if (group === undefined || !isMulticast(group)) {
      throw new TypeError(`"${text}" is not an IPv4 group's address`);
    }
    const interfaceIndex = this.#interfaceOf(group, network);
    const what = `Cannot join ${text}`;
    const isThis = (each: { group: number; interfaceIndex: number }): boolean =>
      each.group === group && each.interfaceIndex === interfaceIndex;
    if (this.#joined.some(isThis)) throw new AddrInUse(`${what}: this socket is in it`);
    if (this.#joined.length >= SOCKET_GROUPS_MAX) {
      throw new RangeError(`${what}: this socket is in ${SOCKET_GROUPS_MAX} groups, the most there may be`);
    }
    if (!stack.igmp.join(interfaceIndex, group, clock.nowMs())) {
      throw new RangeError(`${what}: the interface is in as many groups as it may be`);
    }
    this.#joined.push({ group, interfaceIndex });
    this.#host.kick();
    return {
      // deno-lint-ignore require-await -- errors are rejections, as Deno's are
      leave: async () => {
        const at = this.#joined.findIndex(isThis);
        if (at < 0) throw new AddrNotAvailable(`Cannot leave ${text}: this socket is not in it`);
        this.#joined.splice(at, 1);
        stack.igmp.leave(interfaceIndex, group, clock.nowMs());
        this.#host.kick();
      },
      setLoopback: (loopback) => {
        this.#socket.groupLoopback = loopback;
        return Promise.resolve();
      },
      // deno-lint-ignore require-await
      setTTL: async (ttl) => {
        if (!Number.isInteger(ttl) || ttl < 0 || ttl > 255) {
          throw new TypeError(`A time to live is a whole number from 0 to 255, not ${ttl}`);
        }
        this.#socket.groupTimeToLive = ttl;
      },
    };
  }

  /** The socket is closed: nobody listens any more. */
  leaveAll(): void {
    const { stack, clock } = this.#host;
    for (const { group, interfaceIndex } of this.#joined.splice(0)) {
      stack.igmp.leave(interfaceIndex, group, clock.nowMs());
      this.#host.kick();
    }
  }

  #interfaceOf(group: number, network: string): number {
    const { output } = this.#host.stack;
    const named = output.interfaces.findIndex(({ name }) => name === network);
    if (named >= 0) return named;
    const address = parseIpv4(network);
    if (address === undefined) {
      throw new TypeError(`"${network}" is neither an IPv4 address nor an interface's name`);
    }
    if (isUnspecified(address)) {
      const route = { interfaceIndex: -1, nextHop: 0, source: 0 };
      if (!output.routes.route(group, route)) throw new NetworkUnreachable("Cannot join a group: no route");
      return route.interfaceIndex;
    }
    const index = output.routes.interfaceOf(address);
    if (index < 0) throw new AddrNotAvailable(`Cannot join a group: ${network} is no interface's address`);
    return index;
  }
}
