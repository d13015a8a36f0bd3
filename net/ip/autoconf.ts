import { assert } from "../../base/assert.ts";
import { SipHash } from "../../base/siphash.ts";
import { commonPrefixLength, type Ipv6Words, isLinkLocalWord, maskedWords } from "../wire/ipv6_address.ts";
import { DAD_PROBES, DAD_WAIT_MS, START_DELAY_MS } from "./address_probes.ts";
import type { AddressTable } from "./address_table.ts";
import type { Ipv6Route, OwnIpv6 } from "./ipv6_route_config.ts";

/** Addresses that one interface makes of prefixes, its link-local one beside them: Linux's max_addresses. */
export const AUTO_ADDRESSES_MAX = 16;
/** On-link prefixes and default routers of one link that are remembered: more is an attack (RFC 6104). */
export const LINK_PREFIXES_MAX = 16;
export const DEFAULT_ROUTERS_MAX = 16;

/** RFC 7217 section 6: interface identifiers tried for one prefix. */
const DAD_TRIES = 3;
const ROUTER_SOLICITATIONS = 3;
const ROUTER_SOLICITATION_MS = 4_000;
/** RFC 4862 section 5.5.3 (e): nobody shortens an address's life below this. */
const TWO_HOURS_MS = 7_200_000;
const FOR_EVER_S = 0xffff_ffff;

/** What has to happen outside. Called in the middle of things: it must not call back. */
export interface AutoconfSink {
  /** Ask the link whether somebody has `address`, from no address (RFC 4862 section 5.4.2). */
  probe(address: number): void;
  /** Ask all routers to advertise (RFC 4861 section 6.3.7). */
  solicitRouters(): void;
  /** An address is about to be probed: its solicited-node group is joined. */
  begun(address: number): void;
  /** An address is gone. */
  ended(address: number): void;
  /** Own addresses or routes are others now. */
  changed(): void;
}

/** Counts of one interface. */
export interface AutoconfCounters {
  /** Addresses that somebody else turned out to have. */
  duplicates: number;
  /** Prefixes, routers and addresses for which there was no room. */
  refused: number;
}

interface AutoAddress {
  readonly address: number;
  readonly words: Ipv6Words;
  /** The prefix it was made of. */
  readonly prefix: Ipv6Words;
  readonly tries: number;
  probes: number;
  /** Until then it is tentative: the next probe, or the end of the wait. Infinity: it is ours. */
  tentativeUntilMs: number;
  preferredUntilMs: number;
  validUntilMs: number;
}

interface LinkPrefix {
  readonly words: Ipv6Words;
  readonly prefixLength: number;
  untilMs: number;
}

const LINK_LOCAL: Ipv6Words = [0xfe80_0000 | 0, 0, 0, 0];

/**
 * What one Ethernet interface learns for itself (RFC 4862, RFC 4861 section 6.3): its link-local address, the
 * addresses that it makes of advertised prefixes, the prefixes that are on the link, the default routers.
 *
 * Interface identifiers are RFC 7217's: stable on this link under this secret, and elsewhere others.
 */
export class Autoconf {
  readonly counters: AutoconfCounters = { duplicates: 0, refused: 0 };
  /** Whether routers are believed here. */
  acceptsRouters = true;
  readonly #table: AddressTable;
  readonly #interfaceIndex: number;
  readonly #mac: { readonly hi: number; readonly lo: number };
  readonly #hash: SipHash;
  readonly #sink: AutoconfSink;
  readonly #addresses: AutoAddress[] = [];
  readonly #prefixes: LinkPrefix[] = [];
  readonly #routers = new Map<number, number>(); // address -> until when
  #solicitations = 0;
  #solicitAtMs = Infinity;
  #nextMs = Infinity;

  /** @param secret 16 bytes: who keeps them, and the station address, keeps the addresses through restarts. */
  constructor(
    table: AddressTable,
    interfaceIndex: number,
    mac: { readonly hi: number; readonly lo: number },
    secret: Uint8Array,
    sink: AutoconfSink,
  ) {
    assert(secret.length === 16, "A secret has 16 bytes");
    this.#table = table;
    this.#interfaceIndex = interfaceIndex;
    this.#mac = mac;
    this.#hash = new SipHash(new Int32Array(Uint8Array.from(secret).buffer));
    this.#sink = sink;
  }

  /** Begins: the link-local address is probed, then routers are asked, if they are to be. `random` is from 0 to 1. */
  start(linkLocal: boolean, acceptsRouters: boolean, random: number, nowMs: number): void {
    this.acceptsRouters = acceptsRouters;
    const delayMs = Math.floor(random * START_DELAY_MS);
    if (linkLocal) this.#make(LINK_LOCAL, 0, Infinity, Infinity, nowMs + delayMs);
    if (!acceptsRouters) return;
    // With an address of one's own the answer may come to oneself alone: behind the probe.
    this.#solicitations = ROUTER_SOLICITATIONS;
    this.#solicitAtMs = nowMs + delayMs + (linkLocal ? DAD_WAIT_MS * (DAD_PROBES + 1) : 0);
    this.#arm(this.#solicitAtMs);
  }

  /** Addresses that may be spoken from; tentative ones are not among them. */
  own(nowMs: number): OwnIpv6[] {
    return this.#addresses.filter(({ tentativeUntilMs }) => tentativeUntilMs === Infinity).map((each) => ({
      address: each.address,
      words: each.words,
      prefixLength: 64,
      interfaceIndex: this.#interfaceIndex,
      deprecated: each.preferredUntilMs <= nowMs,
    }));
  }

  /** On-link prefixes, then a default route for each router, the most lately heard of first. */
  routes(): Ipv6Route[] {
    const interfaceIndex = this.#interfaceIndex;
    const direct = this.#prefixes.map(({ words, prefixLength }) => ({
      words,
      prefixLength,
      interfaceIndex,
      gateway: 0,
      source: 0,
    }));
    const routers = [...this.#routers.keys()].reverse();
    return [
      ...direct,
      ...routers.map((gateway) => ({
        words: [0, 0, 0, 0] as const,
        prefixLength: 0,
        interfaceIndex,
        gateway,
        source: 0,
      })),
    ];
  }

  /** Whether `address` is being probed. */
  isTentative(address: number): boolean {
    return this.#addresses.some((each) => each.address === address && each.tentativeUntilMs < Infinity);
  }

  /** Somebody else has, or asks for, an address that we probe (RFC 4862 section 5.4.3, 5.4.4). */
  duplicate(address: number, nowMs: number): void {
    const at = this.#addresses.findIndex((each) =>
      each.address === address && each.tentativeUntilMs < Infinity
    );
    if (at < 0) return;
    this.counters.duplicates++;
    const [taken] = this.#addresses.splice(at, 1);
    this.#forget(taken!);
    const { tries, prefix, preferredUntilMs, validUntilMs } = taken!;
    if (tries + 1 < DAD_TRIES) this.#make(prefix, tries + 1, preferredUntilMs, validUntilMs, nowMs);
  }

  /** A router advertised itself; with a lifetime of 0 it is none any more (RFC 4861 section 6.3.4). */
  router(address: number, lifetimeS: number, nowMs: number): void {
    if (lifetimeS > 0) this.#solicitations = 0;
    const known = this.#routers.has(address);
    if (lifetimeS === 0) {
      if (known) this.dropRouter(address);
      return;
    }
    if (!known) {
      if (this.#routers.size >= DEFAULT_ROUTERS_MAX) {
        this.counters.refused++;
        return;
      }
      this.#table.retain(address);
    }
    this.#routers.set(address, nowMs + 1_000 * lifetimeS);
    this.#arm(nowMs + 1_000 * lifetimeS);
    if (!known) this.#sink.changed();
  }

  /** It does not answer for itself as a router any more. */
  dropRouter(address: number): void {
    if (!this.#routers.delete(address)) return;
    this.#table.release(address);
    this.#sink.changed();
  }

  /** A prefix whose addresses are neighbours; a lifetime of 0 ends it. */
  onLink(words: Ipv6Words, prefixLength: number, validS: number, nowMs: number): void {
    if (isLinkLocalWord(words[0])) return;
    const masked = maskedWords(words, prefixLength);
    const at = this.#prefixes.findIndex((each) => {
      return each.prefixLength === prefixLength && commonPrefixLength(each.words, masked) === 128;
    });
    const untilMs = untilOf(validS, nowMs);
    if (at >= 0 && validS > 0) this.#prefixes[at]!.untilMs = untilMs;
    else if (at >= 0) this.#prefixes.splice(at, 1);
    else if (validS === 0) return;
    else if (this.#prefixes.length >= LINK_PREFIXES_MAX) {
      this.counters.refused++;
      return;
    } else this.#prefixes.push({ words: masked, prefixLength, untilMs });
    this.#arm(untilMs);
    if (at < 0 || validS === 0) this.#sink.changed();
  }

  /** A prefix of 64 bits to make an address of (RFC 4862 section 5.5.3). */
  autonomous(words: Ipv6Words, validS: number, preferredS: number, nowMs: number): void {
    if (isLinkLocalWord(words[0]) || preferredS > validS) return;
    const prefix: Ipv6Words = [words[0], words[1], 0, 0];
    const known = this.#addresses.find((each) => commonPrefixLength(each.prefix, prefix) === 128);
    const validUntilMs = untilOf(validS, nowMs);
    const preferredUntilMs = untilOf(preferredS, nowMs);
    if (known === undefined) {
      if (validS === 0) return;
      if (this.#addresses.length > AUTO_ADDRESSES_MAX) {
        this.counters.refused++;
        return;
      }
      this.#make(prefix, 0, preferredUntilMs, validUntilMs, nowMs, true);
      return;
    }
    const wasDeprecated = known.preferredUntilMs <= nowMs;
    known.preferredUntilMs = preferredUntilMs;
    const leftMs = known.validUntilMs - nowMs;
    if (validUntilMs - nowMs > TWO_HOURS_MS || validUntilMs > known.validUntilMs) {
      known.validUntilMs = validUntilMs;
    } else if (leftMs > TWO_HOURS_MS) known.validUntilMs = nowMs + TWO_HOURS_MS;
    this.#arm(Math.min(known.validUntilMs, preferredUntilMs));
    if (wasDeprecated !== (preferredUntilMs <= nowMs)) this.#sink.changed();
  }

  /** When `advance` next has something to do, or earlier. */
  nextDeadlineMs(): number {
    return this.#nextMs;
  }

  /** Does what is due: probes, asks routers, lets lifetimes end. */
  advance(nowMs: number): void {
    if (nowMs < this.#nextMs) return;
    this.#nextMs = Infinity;
    let changed = false;
    for (const each of [...this.#addresses]) {
      if (each.validUntilMs <= nowMs) {
        this.#addresses.splice(this.#addresses.indexOf(each), 1);
        this.#forget(each);
        changed = true;
        continue;
      }
      if (each.tentativeUntilMs <= nowMs) {
        if (each.probes < DAD_PROBES) {
          each.probes++;
          each.tentativeUntilMs = nowMs + DAD_WAIT_MS;
          this.#sink.probe(each.address);
        } else {
          each.tentativeUntilMs = Infinity;
          changed = true;
        }
      }
      if (each.preferredUntilMs <= nowMs && each.preferredUntilMs > 0) {
        each.preferredUntilMs = 0; // deprecated, and said once
        changed = true;
      }
      this.#arm(each.tentativeUntilMs);
      this.#arm(each.validUntilMs);
      if (each.preferredUntilMs > 0) this.#arm(each.preferredUntilMs);
    }
    for (const [address, untilMs] of this.#routers) {
      if (untilMs > nowMs) this.#arm(untilMs);
      else this.dropRouter(address);
    }
    for (const each of [...this.#prefixes]) {
      if (each.untilMs > nowMs) this.#arm(each.untilMs);
      else {
        this.#prefixes.splice(this.#prefixes.indexOf(each), 1);
        changed = true;
      }
    }
    if (this.#solicitations > 0 && this.#solicitAtMs <= nowMs) {
      this.#solicitations--;
      this.#solicitAtMs = nowMs + ROUTER_SOLICITATION_MS;
      this.#sink.solicitRouters();
    }
    if (this.#solicitations > 0) this.#arm(this.#solicitAtMs);
    if (changed) this.#sink.changed();
  }

  #make(
    prefix: Ipv6Words,
    tries: number,
    preferredUntilMs: number,
    validUntilMs: number,
    fromMs: number,
    delayed = false,
  ): void {
    const words: Ipv6Words = [prefix[0], prefix[1], ...this.#identifier(prefix, tries)];
    // All hosts have heard the advertisement at once; nobody else has this identifier (RFC 4862 section 5.4.2).
    const atMs = fromMs + (delayed ? (words[3] >>> 0) % START_DELAY_MS : 0);
    const zone = isLinkLocalWord(words[0]) ? this.#interfaceIndex + 1 : 0;
    const address = this.#table.intern(...words, zone);
    if (address === 0) {
      this.counters.refused++;
      return;
    }
    this.#table.retain(address);
    this.#addresses.push({
      address,
      words,
      prefix,
      tries,
      probes: 0,
      tentativeUntilMs: atMs,
      preferredUntilMs,
      validUntilMs,
    });
    this.#arm(atMs);
    this.#sink.begun(address);
  }

  /** RFC 7217 section 5: a keyed hash of prefix, interface and the number of the try. */
  #identifier(prefix: Ipv6Words, tries: number): [number, number] {
    const { hi, lo } = this.#mac;
    const hash = this.#hash;
    for (let extra = 0;; extra++) { // not a subnet's anycast addresses (RFC 5453), once in 2^57
      hash.words(Int32Array.of(prefix[0], prefix[1], hi, lo, tries, extra), 6);
      const high = hash.hi, low = hash.lo;
      const reserved = (high | low) === 0 || (high >>> 0 === 0xfdff_ffff && low >>> 7 === 0x1ff_ffff);
      if (!reserved) return [high, low];
    }
  }

  #forget({ address }: AutoAddress): void {
    this.#sink.ended(address);
    this.#table.release(address);
  }

  #arm(atMs: number): void {
    if (atMs < this.#nextMs) this.#nextMs = atMs;
  }
}

function untilOf(seconds: number, nowMs: number): number {
  return seconds === FOR_EVER_S ? Infinity : nowMs + 1_000 * seconds;
}
