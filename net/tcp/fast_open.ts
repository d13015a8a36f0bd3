import type { Entropy } from "../../base/random.ts";
import { SipHash } from "../../base/siphash.ts";
import type { AddressTable } from "../ip/address_table.ts";
import { isIpv6Handle } from "../wire/address.ts";
import type { TcpRecord } from "../wire/tcp.ts";
import type { TcpConfig } from "./config.ts";
import type { TcpListener } from "./listeners.ts";
import type { TcpCounters } from "./netstat.ts";

/** TCP Fast Open (RFC 7413): data travels in the SYN of whoever can show a cookie from an earlier visit. */

/** Bits of `TcpConfig.fastOpen`, those of net.ipv4.tcp_fastopen. */
export const FastOpenMode = {
  client: 1,
  server: 2,
  /** Our SYN carries data even without a cookie. */
  clientWithoutCookie: 4,
  /** Data is taken from every SYN, cookie or not. */
  serverWithoutCookie: 0x200,
  /** All listeners, not only those that ask for it. */
  allListeners: 0x400,
} as const;

/** Bits of `Tcb.fastOpen`. */
export const FastOpenState = {
  /** The listener has handed the connection out on its SYN alone; our SYN-ACK is not acknowledged yet. */
  child: 1,
  /** Data was in the SYN and has been acknowledged: by us, or by the peer. */
  dataAcked: 2,
  /** Our SYN had the option. */
  asked: 4,
  /** It was the experimental one. */
  experimental: 8,
  /** Our SYN carried data. */
  sentData: 16,
  /** The first one after a time in which Fast Open was off: does data come through? */
  probing: 32,
} as const;

/** Bytes of the cookies that we make. */
const COOKIE_BYTES = 8;
/** Keys in use at a time are few; what rotates them must not grow a table. */
const KEYS_MAX = 64;
/** How long a reset counts against a listener's queue, so that forged SYNs cost their sender (RFC 7413 section 5.1). */
const RESET_COUNTS_MS = 60_000;
/** Each time that data vanishes again Fast Open is off for twice as long, up to so many doublings. */
const BLACKHOLE_DOUBLINGS_MAX = 6;

/** What is known of a server. */
interface Visit {
  /** The MSS that it announced. */
  mss: number;
  cookie: Uint8Array<ArrayBuffer>;
  experimental: boolean;
  /** It gave no cookie: 1, the experimental option is tried next; 2, that did not help either. */
  tries: number;
}

const NO_COOKIE: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** An option to send: as in `TcpRecord`. */
export interface FastOpenOption {
  length: number;
  experimental: boolean;
  readonly cookie: Uint8Array<ArrayBuffer>;
}

/** What is needed of the table of addresses: the words of an IPv6 address, and that a handle stays good. */
export type FastOpenAddresses = Pick<AddressTable, "word" | "retain" | "release">;

/** The cookies that one stack makes, and those that it was given. */
export class FastOpen {
  readonly #config: Readonly<TcpConfig>;
  readonly #counters: TcpCounters;
  readonly #randomKey: readonly SipHash[];
  /** Keys that were read, by their text. */
  readonly #keys = new Map<string, readonly SipHash[]>();
  /** By both addresses, the one that was not used for longest first. */
  readonly #visits = new Map<number, Map<number, Visit>>();
  #visitCount = 0;
  readonly #addresses: FastOpenAddresses;
  readonly #words = new Int32Array(8);
  readonly #view = new DataView(new ArrayBuffer(COOKIE_BYTES));
  #offSinceMs = 0;
  #offTimes = 0;
  /** What the next SYN or SYN-ACK carries. */
  readonly option: FastOpenOption = { length: -1, experimental: false, cookie: new Uint8Array(16) };

  constructor(
    config: Readonly<TcpConfig>,
    counters: TcpCounters,
    entropy: Entropy,
    addresses: FastOpenAddresses,
  ) {
    this.#addresses = addresses;
    this.#config = config;
    this.#counters = counters;
    const bytes = new Uint8Array(16);
    entropy.fill(bytes);
    this.#randomKey = [new SipHash(new Int32Array(bytes.buffer))];
    if (config.fastOpenKey !== undefined) parseFastOpenKeys(config.fastOpenKey); // a mistake is told now
  }

  // Server

  /**
   * Whether the connection that a SYN asks for is opened at once. `option` then is what the SYN-ACK carries; so it is
   * when the answer is no.
   */
  judgeSyn(
    listener: TcpListener,
    local: number,
    remote: number,
    segment: TcpRecord,
    nowMs: number,
  ): boolean {
    const mode = this.#config.fastOpen;
    const asked = segment.fastOpenLength;
    const { option } = this;
    option.length = -1;
    option.experimental = segment.fastOpenExperimental;
    if (asked === 0) this.#counters.fastOpenCookieReqd++;
    const wants = asked >= 0 || segment.dataEnd > segment.dataStart;
    if ((mode & FastOpenMode.server) === 0 || !wants || !this.#hasRoom(listener, nowMs)) return false;
    if ((mode & FastOpenMode.serverWithoutCookie) !== 0) return true;
    if (asked < 0) return false;
    const keys = this.#keysOf(listener);
    let key = 0;
    while (asked > 0 && key < keys.length && !this.#matches(keys[key]!, local, remote, segment)) key++;
    if (asked > 0 && key === 0) return true;
    this.#makeCookie(keys[0]!, remote, local);
    option.length = COOKIE_BYTES;
    new Uint8Array(this.#view.buffer).forEach((byte, at) => void (option.cookie[at] = byte));
    if (asked > 0 && key === keys.length) this.#counters.fastOpenPassiveFail++;
    return asked > 0 && key < keys.length; // made with the older key: the answer brings a new one
  }

  /** RFC 7413 section 5.1: so many connections may be open whose peer has shown nothing but a cookie. */
  #hasRoom(listener: TcpListener, nowMs: number): boolean {
    const every = (this.#config.fastOpen & FastOpenMode.allListeners) !== 0;
    const limit = listener.fastOpenMax > 0 ? listener.fastOpenMax : every ? listener.backlog : 0;
    if (limit === 0) return false;
    const { fastOpenResets: resets } = listener;
    if (listener.fastOpenPending + resets.length < limit) return true;
    if (resets.length > 0 && resets[0]! <= nowMs) {
      resets.shift();
      return true;
    }
    this.#counters.fastOpenListenOverflow++;
    return false;
  }

  #keysOf(listener: TcpListener): readonly SipHash[] {
    const text = listener.fastOpenKey ?? this.#config.fastOpenKey;
    if (text === undefined) return this.#randomKey;
    let keys = this.#keys.get(text);
    if (keys === undefined) {
      if (this.#keys.size >= KEYS_MAX) this.#keys.clear();
      this.#keys.set(text, keys = parseFastOpenKeys(text).map((words) => new SipHash(words)));
    }
    return keys;
  }

  #matches(key: SipHash, local: number, remote: number, segment: TcpRecord): boolean {
    if (segment.fastOpenLength !== COOKIE_BYTES) return false;
    this.#makeCookie(key, remote, local);
    let difference = 0;
    for (let at = 0; at < COOKIE_BYTES; at++) {
      difference |= this.#view.getUint8(at) ^ segment.fastOpenCookie[at]!;
    }
    return difference === 0;
  }

  /** As Linux makes them: SipHash of the addresses as they stand in the packet, client first. */
  #makeCookie(key: SipHash, client: number, server: number): void {
    const count = this.#putAddress(server, this.#putAddress(client, 0));
    this.#view.setInt32(0, key.words(this.#words, count), true);
    this.#view.setInt32(4, key.hi, true);
  }

  #putAddress(address: number, at: number): number {
    if (!isIpv6Handle(address)) {
      this.#words[at] = swapBytes(address);
      return at + 1;
    }
    for (let word = 0; word < 4; word++) {
      this.#words[at + word] = swapBytes(this.#addresses.word(address, word));
    }
    return at + 4;
  }

  // Client

  /**
   * Whether a SYN may carry data. `option` then is what it carries beside it; so it is when the answer is no, and the
   * SYN only asks for a cookie.
   */
  prepareSyn(local: number, remote: number, nowMs: number): boolean {
    const { option } = this;
    option.length = -1;
    option.experimental = false;
    const mode = this.#config.fastOpen;
    if ((mode & FastOpenMode.client) === 0 || this.#isOff(nowMs)) return false;
    if ((mode & FastOpenMode.clientWithoutCookie) !== 0) return true;
    const visit = this.#visit(local, remote);
    option.length = visit?.cookie.length ?? 0;
    option.experimental = visit !== undefined &&
      (visit.experimental || (option.length === 0 && visit.tries === 1));
    if (visit !== undefined) option.cookie.set(visit.cookie);
    return option.length > 0;
  }

  /** The MSS that a server announced when we were there last, or `otherwise`. */
  mssOf(local: number, remote: number, otherwise: number): number {
    return this.#visit(local, remote)?.mss ?? otherwise;
  }

  /** Remembers what the SYN-ACK of a server says. `gaveNone`: it was asked, and gave no cookie. */
  learn(
    local: number,
    remote: number,
    synAck: TcpRecord,
    mss: number,
    asked: number,
    gaveNone: boolean,
  ): void {
    const known = this.#visit(local, remote);
    const given = synAck.fastOpenLength > 0 && (asked & FastOpenState.asked) !== 0;
    const visit = known ?? { mss, cookie: NO_COOKIE, experimental: false, tries: 0 };
    visit.mss = mss;
    if (given) {
      visit.cookie = synAck.fastOpenCookie.slice(0, synAck.fastOpenLength);
      visit.experimental = synAck.fastOpenExperimental;
    } else if (gaveNone && visit.cookie.length === 0 && !visit.experimental) {
      visit.tries = Math.max(visit.tries, (asked & FastOpenState.experimental) !== 0 ? 2 : 1);
    }
    if (known === undefined) this.#enter(local, remote, visit);
  }

  /** Servers that are remembered. */
  get visits(): number {
    return this.#visitCount;
  }

  #visit(local: number, remote: number): Visit | undefined {
    const visits = this.#visits.get(remote);
    const visit = visits?.get(local);
    if (visit === undefined) return undefined;
    this.#visits.delete(remote); // to the end: it was used last
    this.#visits.set(remote, visits!);
    return visit;
  }

  #enter(local: number, remote: number, visit: Visit): void {
    while (this.#visitCount >= this.#config.fastOpenCacheMax) {
      if (!this.#forgetOldest()) return;
    }
    let visits = this.#visits.get(remote);
    if (visits === undefined) {
      this.#visits.set(remote, visits = new Map());
      this.#addresses.retain(remote);
    }
    visits.set(local, visit);
    this.#addresses.retain(local);
    this.#visitCount++;
  }

  /** Forgets every server. */
  forget(): void {
    while (this.#forgetOldest());
  }

  #forgetOldest(): boolean {
    const oldest = this.#visits.entries().next();
    if (oldest.done) return false;
    const [server, ours] = oldest.value;
    this.#visitCount -= ours.size;
    for (const own of ours.keys()) this.#addresses.release(own);
    this.#addresses.release(server);
    return this.#visits.delete(server);
  }

  // What swallows SYNs with data

  /** Data in a SYN seems to vanish on the way: no Fast Open for a while, each time for longer. */
  blackhole(nowMs: number): void {
    if (this.#config.fastOpenBlackholeMs === 0) return;
    this.#offSinceMs = nowMs;
    this.#offTimes++;
    this.#counters.fastOpenBlackhole++;
  }

  /** Data came through. */
  cameThrough(): void {
    this.#offTimes = 0;
  }

  /** Whether it is on again on probation. */
  get probing(): boolean {
    return this.#offTimes > 0;
  }

  #isOff(nowMs: number): boolean {
    if (this.#offTimes === 0) return false;
    const times = 2 ** Math.min(this.#offTimes - 1, BLACKHOLE_DOUBLINGS_MAX);
    return nowMs < this.#offSinceMs + times * this.#config.fastOpenBlackholeMs;
  }
}

/** A connection that a listener had handed out on its SYN was reset: for a while it counts as one that is open. */
export function countFastOpenReset(listener: TcpListener, nowMs: number): void {
  listener.fastOpenResets.push(nowMs + RESET_COUNTS_MS);
}

/**
 * Reads one or two keys as net.ipv4.tcp_fastopen_key has them.
 * @throws {RangeError}
 */
export function parseFastOpenKeys(text: string): Uint32Array[] {
  const keys = text.split(",");
  const wrong = keys.length > 2 || !keys.every((key) => /^([0-9a-f]{1,8}-){3}[0-9a-f]{1,8}$/i.test(key));
  if (wrong) {
    throw new RangeError(
      `"${text}" is no Fast Open key like "0123abcd-4567-89ab-cdef", or two with "," between them`,
    );
  }
  return keys.map((key) => Uint32Array.from(key.split("-"), (word) => parseInt(word, 16)));
}

function swapBytes(word: number): number {
  return (word >>> 24) | ((word >>> 8) & 0xff00) | ((word & 0xff00) << 8) | (word << 24);
}
