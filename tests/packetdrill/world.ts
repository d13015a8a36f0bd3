import { assert } from "../../base/assert.ts";
import { Prng } from "../../base/random.ts";
import { Slab } from "../../base/slab.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import type { LinkOutput } from "../../net/ip/interface.ts";
import { Stack, type StackUpcalls } from "../../net/stack.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import type { TcpCounters } from "../../net/tcp/netstat.ts";
import type { Tcb } from "../../net/tcp/tcb.ts";
import { IPV4_ANY, IPV6_ANY } from "../../net/wire/address.ts";
import { parseIpv6 } from "../../net/wire/ipv6_address.ts";
import { Keeper } from "./keeper.ts";
import type { Addresses } from "./segment.ts";

/** Us, our peer, and the way there: the addresses that cookies in scripts were made for. */
const HOSTS_4 = { local: "192.168.0.1", remote: "192.0.2.1", gateway: "192.168.0.254", prefix: 16 } as const;
const HOSTS_6 = {
  local: "fd3d:a0b:17d6::1",
  remote: "fd3d:fa7b:d17d::1",
  gateway: "fd3d:a0b:17d6::fffe",
  prefix: 64,
} as const;
const START_MS = 1_700_000_000_000;
const SEED = 1;
/** Turns between two events of a script: more is a stack that asks to be polled for ever. */
const TURNS_MAX = 100_000;

/** A packet that left, and when: microseconds since the start. */
export interface Sent {
  readonly packet: Uint8Array<ArrayBuffer>;
  readonly atUs: number;
}

/** Addresses that a script chooses; those of the other IP version are not for this run. */
export interface Hosts {
  readonly localIp: string | undefined;
  readonly remoteIp: string | undefined;
  readonly gatewayIp: string | undefined;
}

export interface WorldOptions {
  readonly mtu: number;
  readonly tcp: Partial<TcpConfig>;
  readonly sleep: boolean;
  readonly ipv6: boolean;
  readonly hosts: Hosts;
  readonly upcalls: StackUpcalls;
  /** Called at the end of a turn, before who can sleep does. */
  readonly settle: (nowUs: number) => void;
}

/** One stack on a wire of bare IP packets, its clock moved by hand. */
export class World {
  readonly stack: Stack;
  /** As the stack numbers them. */
  readonly local: number;
  readonly remote: number;
  /** Every local address. */
  readonly any: number;
  readonly addresses: Addresses;
  readonly keeper: Keeper | undefined;
  /** What left and was not looked at yet. */
  readonly sent: Sent[] = [];
  readonly counted = new Map<string, number>();
  readonly files = new Map<string, number>();
  nowMs: number = START_MS;
  /** Its device takes no more packets. */
  full = false;
  readonly #link: LinkOutput & { mtu: number };
  readonly #settle: (nowUs: number) => void;
  #deadlineMs = Infinity;
  #wakeAtMs = Infinity;

  constructor(options: WorldOptions) {
    this.stack = new Stack({ nowMs: this.nowMs, entropy: new Prng(SEED), tcp: options.tcp });
    const send = (slab: Slab, start: number, end: number): boolean => {
      if (this.full) return false;
      this.sent.push({ packet: slab.bytes.slice(start, end), atUs: this.us });
      return true;
    };
    this.#link = { medium: "ip", mtu: options.mtu, send, flush: () => {} };
    this.stack.addInterface({ name: "net0", link: this.#link });
    const usual = options.ipv6 ? HOSTS_6 : HOSTS_4;
    const { localIp, remoteIp, gatewayIp } = options.hosts;
    const chosen = (ip: string | undefined, otherwise: string): string =>
      ip !== undefined && ip.includes(":") === options.ipv6 ? ip : otherwise;
    const local = chosen(localIp, usual.local), remote = chosen(remoteIp, usual.remote);
    // The way there is on our own network, wherever a script has put us.
    const gateway = chosen(gatewayIp, local === usual.local ? usual.gateway : neighborOf(local));
    this.stack.setRoutes({ addresses: [{ address: `${local}/${usual.prefix}`, gateway }] });
    this.local = this.stack.addresses.parse(local)!;
    this.remote = this.stack.addresses.parse(remote)!;
    this.any = options.ipv6 ? IPV6_ANY : IPV4_ANY;
    this.stack.addresses.retain(this.remote);
    const bytes = options.ipv6 ? ipv6Bytes : ipv4Bytes;
    this.addresses = { version: options.ipv6 ? 6 : 4, local: bytes(local), remote: bytes(remote) };
    this.stack.upcalls = options.upcalls;
    this.#settle = options.settle;
    if (options.sleep) this.keeper = new Keeper(this.stack, this.nowMs);
  }

  /** Its device carries packets of this many bytes from now on. */
  set mtu(mtu: number) {
    this.#link.mtu = mtu;
  }

  forgetMetrics(): void {
    this.stack.tcp.fastOpen.forget();
  }

  get counters(): TcpCounters {
    return this.stack.tcp.counters;
  }

  listens(port: number): boolean {
    return this.stack.tcp.listeners.find(this.local, port) !== undefined;
  }

  /** Microseconds since the start. */
  get us(): number {
    return Math.round((this.nowMs - START_MS) * 1000);
  }

  /** Ends a turn: what is due leaves. Then who can sleep does. */
  turn(): void {
    this.#deadlineMs = this.stack.poll(this.nowMs);
    this.#settle(this.us);
    if (this.keeper !== undefined) {
      this.keeper.sleepAll(this.nowMs);
      this.#deadlineMs = Math.min(this.#deadlineMs, this.keeper.nextDeadlineMs());
    }
  }

  /** Time passes until `untilUs`, or until a turn after which `enough` says so. */
  advance(untilUs: number, enough: () => boolean): void {
    const untilMs = START_MS + untilUs / 1000;
    for (let turns = 0; !enough(); turns++) {
      assert(turns < TURNS_MAX, "The stack asks to be polled for ever");
      const nextMs = Math.min(this.#deadlineMs, this.#wakeAtMs);
      if (nextMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs);
        return;
      }
      this.nowMs = Math.max(this.nowMs, nextMs);
      if (this.#wakeAtMs <= this.nowMs) this.#wakeAtMs = Infinity;
      this.turn();
    }
  }

  /** A call waits no longer than this: time stops there. */
  wakeAt(atMs: number): void {
    this.#wakeAtMs = atMs;
  }

  /** A packet arrives, and the turn ends. */
  receive(packet: Uint8Array<ArrayBuffer>): void {
    this.stack.receive(0, new Slab(packet), 0, packet.length, this.nowMs);
    this.turn();
  }

  /** The TCB of a connection, awake from now until the end of the turn. */
  awake(record: number): Tcb {
    const map = this.stack.connections;
    if (map.state(record) !== RecordState.awake) {
      this.stack.sleepers.wake(record, this.nowMs);
      this.keeper!.turn(this.nowMs);
    }
    return this.stack.awakeTcb(record);
  }
}

/** An address beside this one. */
function neighborOf(address: string): string {
  return address.replace(/[0-9a-f]+$/, (last) => last === "2" ? "3" : "2");
}

function ipv4Bytes(text: string): Uint8Array {
  return Uint8Array.from(text.split("."), Number);
}

function ipv6Bytes(text: string): Uint8Array {
  return Uint8Array.from(
    parseIpv6(text)!.flatMap((word) => [24, 16, 8, 0].map((shift) => (word >>> shift) & 0xff)),
  );
}
