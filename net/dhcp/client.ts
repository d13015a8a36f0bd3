import { parseIpv4 } from "../wire/address.ts";
import { type DhcpLease, leaseOf } from "./lease.ts";
import { type DhcpMessage, DhcpOption, DhcpType, readDhcp, writeDhcp } from "./message.ts";

/** States of a client (RFC 2131 section 4.4, figure 5). */
export const DhcpState = {
  /** Nothing is asked for. */
  Stopped: 0,
  /** A mistake has to pass before the next try: somebody has the address, or a server took it back. */
  Waiting: 1,
  Selecting: 2,
  Requesting: 3,
  /** As Requesting, for a lease of before (INIT-REBOOT). */
  Rebooting: 4,
  /** The address is given; nobody else may answer for it. */
  Probing: 5,
  Bound: 6,
  Renewing: 7,
  Rebinding: 8,
} as const;
export type DhcpState = (typeof DhcpState)[keyof typeof DhcpState];

/** What has to happen outside. Must not call back. */
export interface DhcpSink {
  /** Send a message: to `server` from the leased address, or to everyone from `source`, 0 for nobody. */
  send(bytes: Uint8Array<ArrayBuffer>, source: number, server: number): void;
  /** Ask who has `address` (RFC 5227 section 2.1.1), and call `conflict` when somebody says so. */
  probe(address: number): void;
  /** The lease is ours from now on, or goes on. */
  bound(lease: DhcpLease): void;
  /** The lease is over: its address must not be used any more. */
  lost(why: "expired" | "refused" | "conflict" | "released"): void;
}

export interface DhcpClientOptions {
  /** Six bytes of an Ethernet station; elsewhere whatever tells this client from others. */
  readonly hardwareAddress: Uint8Array;
  /** What the server may call us. */
  readonly hostName?: string;
  /** A lease of before a restart: asked for again first. */
  readonly lease?: DhcpLease;
  /** Whether addresses are probed before use: where there is ARP. */
  readonly probes?: boolean;
}

/** RFC 2131 section 4.1: 4 s doubled up to 64 s, a second more or less. */
const RETRY_MS = 4_000;
const RETRY_MAX_MS = 64_000;
const RETRY_SPREAD_MS = 1_000;
/** Requests without an answer before all begins anew. */
const REQUESTS_MAX = 4;
/** The same for a lease of before: the server may be another one now. */
const REBOOTS_MAX = 2;
/** RFC 2131 section 4.4.5: not more often than this while renewing. */
const RENEW_MIN_MS = 60_000;
/** RFC 2131 section 3.1: after a declined address. */
const DECLINED_MS = 10_000;
/** After a refusal, so that a server that refuses everything is not flooded. */
const REFUSED_MS = 1_000;
/** Two questions about an address; who has it answers much sooner. */
const PROBES = 2;
const PROBE_MS = 500;
/** The largest packet that a server may answer with. */
const MESSAGE_MAX = 1_500;
const WANTED = [
  DhcpOption.SubnetMask,
  DhcpOption.ClasslessRoutes, // before Router, as RFC 3442 asks
  DhcpOption.Router,
  DhcpOption.DomainNameServer,
  DhcpOption.DomainName,
  DhcpOption.InterfaceMtu,
  DhcpOption.LeaseTime,
  DhcpOption.RenewalTime,
  DhcpOption.RebindingTime,
];

/**
 * The client's side of DHCP for one interface (RFC 2131), without the wire and without a clock: it is told
 * what comes and what time it is, and says what to send and when to ask again.
 */
export class DhcpClient {
  state: DhcpState = DhcpState.Stopped;
  /** The lease in use, or kept from before. */
  lease: DhcpLease | undefined;
  readonly #options: DhcpClientOptions;
  readonly #sink: DhcpSink;
  /** A whole number below a limit, that outsiders do not guess. */
  readonly #below: (limit: number) => number;
  #transaction = 0;
  #startedMs = 0;
  #tries = 0;
  #deadlineMs = Infinity;
  /** What was offered, or given and not yet probed. */
  #offered = 0;
  #offeredBy = 0;
  #given: DhcpLease | undefined;

  constructor(options: DhcpClientOptions, sink: DhcpSink, below: (limit: number) => number) {
    this.#options = options;
    this.#sink = sink;
    this.#below = below;
  }

  /** Begins: asks for the lease of before, when it has not expired, or for any. */
  start(nowMs: number): void {
    const { lease } = this.#options;
    if (lease === undefined || (lease.expiresAtMs !== null && lease.expiresAtMs <= nowMs)) {
      this.#begin(DhcpState.Selecting, nowMs);
      return;
    }
    this.#offered = parseIpv4(lease.address) ?? 0;
    this.#offeredBy = 0;
    this.#begin(DhcpState.Rebooting, nowMs);
  }

  /** Gives the lease back, if there is one, and stops. */
  release(): void {
    const { lease } = this;
    if (lease !== undefined && this.#holds()) {
      const server = parseIpv4(lease.server)!;
      const address = parseIpv4(lease.address)!;
      this.#transaction = this.#below(0x1_0000_0000) | 0;
      this.#sink.send(
        this.#message(DhcpType.Release, address, [[DhcpOption.ServerIdentifier, server]]),
        address,
        server,
      );
      this.#lose("released");
    }
    this.stop();
  }

  /** Stops without a word: the lease stays as it is. */
  stop(): void {
    this.state = DhcpState.Stopped;
    this.#deadlineMs = Infinity;
  }

  nextDeadlineMs(): number {
    return this.#deadlineMs;
  }

  /** Does what is due. */
  advance(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return;
    switch (this.state) {
      case DhcpState.Waiting:
        this.#begin(DhcpState.Selecting, nowMs);
        return;
      case DhcpState.Selecting:
        this.#discover(nowMs);
        return;
      case DhcpState.Requesting:
      case DhcpState.Rebooting:
        this.#request(nowMs);
        return;
      case DhcpState.Probing:
        this.#probe(nowMs);
        return;
      case DhcpState.Bound:
      case DhcpState.Renewing:
      case DhcpState.Rebinding:
        this.#extend(nowMs);
        return;
      default:
        this.#deadlineMs = Infinity;
    }
  }

  /** A datagram came from a server's port. */
  input(bytes: Uint8Array, nowMs: number): void {
    const message = readDhcp(bytes);
    if (message === undefined || message.transaction !== this.#transaction) return;
    const own = this.#options.hardwareAddress;
    if (own.length !== message.hardwareAddress.length) return;
    if (!own.every((byte, at) => byte === message.hardwareAddress[at])) return;
    if (message.type === DhcpType.Offer) this.#offer(message, nowMs);
    else if (message.type === DhcpType.Ack) this.#acknowledged(message, nowMs);
    else if (message.type === DhcpType.Nak) this.#refused(message, nowMs);
  }

  /** Somebody else answers for `address`. */
  conflict(address: number, nowMs: number): void {
    const given = this.#given ?? (this.#holds() ? this.lease : undefined);
    if (given === undefined || parseIpv4(given.address) !== address) return;
    this.#sink.send(
      this.#message(DhcpType.Decline, 0, [
        [DhcpOption.RequestedAddress, address],
        [DhcpOption.ServerIdentifier, parseIpv4(given.server)!],
      ]),
      0,
      0,
    );
    this.#given = undefined;
    if (this.#holds()) this.#lose("conflict");
    this.#wait(DECLINED_MS, nowMs);
  }

  #holds(): boolean {
    return this.state >= DhcpState.Bound;
  }

  #begin(state: DhcpState, nowMs: number): void {
    this.state = state;
    this.#transaction = this.#below(0x1_0000_0000) | 0;
    this.#startedMs = nowMs;
    this.#tries = 0;
    if (state === DhcpState.Selecting) this.#discover(nowMs);
    else this.#request(nowMs);
  }

  #wait(ms: number, nowMs: number): void {
    this.state = DhcpState.Waiting;
    this.#deadlineMs = nowMs + ms;
  }

  #retryAfter(): number {
    const ms = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** (this.#tries - 1));
    return ms - RETRY_SPREAD_MS + this.#below(2 * RETRY_SPREAD_MS);
  }

  #discover(nowMs: number): void {
    this.#tries++;
    this.#sink.send(this.#message(DhcpType.Discover, 0, [], nowMs), 0, 0);
    this.#deadlineMs = nowMs + this.#retryAfter();
  }

  #offer(message: DhcpMessage, nowMs: number): void {
    if (this.state !== DhcpState.Selecting) return; // the first one that can be used is as good as another
    const lease = leaseOf(message, nowMs);
    if (lease === undefined) return;
    this.#offered = message.yourAddress;
    this.#offeredBy = parseIpv4(lease.server)!;
    this.state = DhcpState.Requesting;
    this.#tries = 0;
    this.#request(nowMs);
  }

  /** Asks for the address that was offered, or that we had. */
  #request(nowMs: number): void {
    const rebooting = this.state === DhcpState.Rebooting;
    if (this.#tries >= (rebooting ? REBOOTS_MAX : REQUESTS_MAX)) {
      return this.#begin(DhcpState.Selecting, nowMs);
    }
    this.#tries++;
    const options: [number, number][] = [[DhcpOption.RequestedAddress, this.#offered]];
    if (!rebooting) options.push([DhcpOption.ServerIdentifier, this.#offeredBy]);
    this.#sink.send(this.#message(DhcpType.Request, 0, options, nowMs), 0, 0);
    this.#deadlineMs = nowMs + this.#retryAfter();
  }

  #acknowledged(message: DhcpMessage, nowMs: number): void {
    const { state } = this;
    const asked = state === DhcpState.Requesting || state === DhcpState.Rebooting;
    const extending = state === DhcpState.Renewing || state === DhcpState.Rebinding;
    if (!asked && !extending) return;
    const lease = leaseOf(message, nowMs);
    if (lease === undefined) return;
    if (extending && lease.address === this.lease!.address) return this.#bind(lease);
    if (extending) return; // another address than the one that was asked for
    if (message.yourAddress !== this.#offered) return;
    this.#given = lease;
    if (this.#options.probes !== true) return this.#bind(lease);
    this.state = DhcpState.Probing;
    this.#tries = 0;
    this.#probe(nowMs);
  }

  #probe(nowMs: number): void {
    if (this.#tries++ >= PROBES) return this.#bind(this.#given!);
    this.#sink.probe(parseIpv4(this.#given!.address)!);
    this.#deadlineMs = nowMs + PROBE_MS;
  }

  #bind(lease: DhcpLease): void {
    this.lease = lease;
    this.#given = undefined;
    this.state = DhcpState.Bound;
    this.#deadlineMs = lease.renewAtMs ?? Infinity;
    this.#sink.bound(lease);
  }

  /** RFC 2131 section 4.4.5: asks its server, then any, then gives up. */
  #extend(nowMs: number): void {
    const lease = this.lease!;
    const expiresAtMs = lease.expiresAtMs ?? Infinity;
    const rebindAtMs = lease.rebindAtMs ?? Infinity;
    if (nowMs >= expiresAtMs) {
      this.#lose("expired");
      return this.#begin(DhcpState.Selecting, nowMs);
    }
    const rebinding = nowMs >= rebindAtMs;
    const state = rebinding ? DhcpState.Rebinding : DhcpState.Renewing;
    if (this.state !== state) {
      this.state = state;
      this.#transaction = this.#below(0x1_0000_0000) | 0;
      this.#startedMs = nowMs;
    }
    const address = parseIpv4(lease.address)!;
    const server = rebinding ? 0 : parseIpv4(lease.server)!;
    this.#sink.send(this.#message(DhcpType.Request, address, [], nowMs), address, server);
    const untilMs = rebinding ? expiresAtMs : rebindAtMs;
    this.#deadlineMs = Math.min(untilMs, nowMs + Math.max(RENEW_MIN_MS, (untilMs - nowMs) / 2));
  }

  #refused(message: DhcpMessage, nowMs: number): void {
    if (message.options.get(DhcpOption.ServerIdentifier) === undefined) return;
    const asked = this.state === DhcpState.Requesting || this.state === DhcpState.Rebooting;
    const extending = this.state === DhcpState.Renewing || this.state === DhcpState.Rebinding;
    if (!asked && !extending) return;
    if (extending) this.#lose("refused");
    this.#wait(REFUSED_MS, nowMs);
  }

  #lose(why: "expired" | "refused" | "conflict" | "released"): void {
    this.lease = undefined;
    this.#sink.lost(why);
  }

  #message(
    type: DhcpType,
    clientAddress: number,
    addresses: readonly (readonly [option: number, address: number])[],
    nowMs: number = this.#startedMs,
  ): Uint8Array<ArrayBuffer> {
    const { hardwareAddress, hostName } = this.#options;
    const options = new Map<number, Uint8Array>();
    options.set(DhcpOption.ClientIdentifier, Uint8Array.of(1, ...hardwareAddress));
    for (const [option, address] of addresses) options.set(option, word(address));
    if (type === DhcpType.Discover || type === DhcpType.Request) {
      options.set(DhcpOption.ParameterList, Uint8Array.from(WANTED));
      options.set(DhcpOption.MaximumSize, Uint8Array.of(MESSAGE_MAX >> 8, MESSAGE_MAX & 255));
      if (hostName !== undefined) options.set(DhcpOption.HostName, new TextEncoder().encode(hostName));
    }
    return writeDhcp({
      type,
      transaction: this.#transaction,
      seconds: Math.floor((nowMs - this.#startedMs) / 1_000),
      broadcast: clientAddress === 0 && type !== DhcpType.Decline,
      clientAddress,
      yourAddress: 0,
      hardwareAddress,
      options,
    });
  }
}

function word(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}
