import type { UdpSocket } from "../udp/udp.ts";
import { isIpv6Handle, isMulticast, isUnspecified, parseIpv4 } from "../wire/address.ts";
import { AddrInUse, AddrNotAvailable, NetworkUnreachable } from "./errors.ts";
import type { Host } from "./host.ts";
import type { MulticastV4Membership, MulticastV6Membership } from "./types.ts";

/** Groups that one socket may be in: Linux's igmp_max_memberships. */
export const SOCKET_GROUPS_MAX = 20;

interface Joined {
  readonly group: number;
  readonly interfaceIndex: number;
}

/** The groups that one datagram socket is in. */
export class Memberships {
  readonly #host: Host;
  readonly #socket: UdpSocket;
  readonly #joined: Joined[] = [];

  constructor(host: Host, socket: UdpSocket) {
    this.#host = host;
    this.#socket = socket;
  }

  /**
   * @param network An address of the interface, its name, or "0.0.0.0" for the one that the route says.
   * @throws {TypeError} {AddrInUse} {AddrNotAvailable} {NetworkUnreachable} {RangeError}
   */
  joinV4(text: string, network: string): MulticastV4Membership {
    const group = parseIpv4(text);
    if (group === undefined || !isMulticast(group)) {
      throw new TypeError(`"${text}" is not an IPv4 group's address`);
    }
    return this.#join(text, { group, interfaceIndex: this.#interfaceOf(group, network) });
  }

  /**
   * @param interfaceIndex The interface's number, from 0.
   * @throws {TypeError} {AddrInUse} {AddrNotAvailable} {RangeError}
   */
  joinV6(text: string, interfaceIndex: number): MulticastV6Membership {
    const { addresses, output } = this.#host.stack;
    const group = addresses.parse(text);
    if (group === undefined || !isIpv6Handle(group) || !addresses.isMulticast(group)) {
      throw new TypeError(`"${text}" is not an IPv6 group's address`);
    }
    if (output.interfaces[interfaceIndex] === undefined) {
      throw new AddrNotAvailable(`Cannot join a group: there is no interface ${interfaceIndex}`);
    }
    return this.#join(text, { group, interfaceIndex });
  }

  #join(text: string, wanted: Joined): MulticastV4Membership {
    const { stack, clock } = this.#host;
    const { group, interfaceIndex } = wanted;
    const protocol = isIpv6Handle(group) ? stack.mld : stack.igmp;
    const what = `Cannot join ${text}`;
    const isThis = (each: Joined): boolean => each.group === group && each.interfaceIndex === interfaceIndex;
    if (this.#joined.some(isThis)) throw new AddrInUse(`${what}: this socket is in it`);
    if (this.#joined.length >= SOCKET_GROUPS_MAX) {
      throw new RangeError(`${what}: this socket is in ${SOCKET_GROUPS_MAX} groups, the most there may be`);
    }
    if (!protocol.join(interfaceIndex, group, clock.nowMs())) {
      throw new RangeError(`${what}: the interface is in as many groups as it may be`);
    }
    stack.addresses.retain(group);
    this.#joined.push(wanted);
    this.#host.kick();
    return {
      // deno-lint-ignore require-await -- errors are rejections, as Deno's are
      leave: async () => {
        const at = this.#joined.indexOf(wanted);
        if (at < 0) throw new AddrNotAvailable(`Cannot leave ${text}: this socket is not in it`);
        this.#joined.splice(at, 1);
        this.#leave(wanted);
      },
      setLoopback: (loopback) => {
        stack.udp.configure(this.#socket, { groupLoopback: loopback });
        return Promise.resolve();
      },
      // deno-lint-ignore require-await
      setTTL: async (ttl) => {
        if (!Number.isInteger(ttl) || ttl < 0 || ttl > 255) {
          throw new TypeError(`A time to live is a whole number from 0 to 255, not ${ttl}`);
        }
        stack.udp.configure(this.#socket, { groupTimeToLive: ttl });
      },
    };
  }

  #leave({ group, interfaceIndex }: Joined): void {
    const { stack, clock } = this.#host;
    const protocol = isIpv6Handle(group) ? stack.mld : stack.igmp;
    protocol.leave(interfaceIndex, group, clock.nowMs());
    stack.addresses.release(group);
    this.#host.kick();
  }

  /** The socket is closed: nobody listens any more. */
  leaveAll(): void {
    for (const joined of this.#joined.splice(0)) this.#leave(joined);
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
