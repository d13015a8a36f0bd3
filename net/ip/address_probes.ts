import type { OwnIpv6 } from "./ipv6_route_config.ts";

/** RFC 4862 section 5.1: one probe, and a second until it counts as unanswered. */
export const DAD_PROBES = 1;
export const DAD_WAIT_MS = 1_000;
/** RFC 4861 section 10: what hosts of one link do at once, they do at random in this time. */
export const START_DELAY_MS = 1_000;

/** What has to happen outside. Called in the middle of things: it must not call back. */
export interface AddressProbesSink {
  /** Ask the link whether somebody has `address`, from no address (RFC 4862 section 5.4.2). */
  probe(interfaceIndex: number, address: number): void;
  /** Somebody has it: it is nobody's here. */
  duplicate(interfaceIndex: number, address: number): void;
  /** These configured addresses, and no others, may not be used. */
  withheld(addresses: ReadonlySet<number>): void;
}

interface Probe {
  readonly address: number;
  readonly interfaceIndex: number;
  probes: number;
  /** The next probe, or the end of the wait; Infinity: it is decided. */
  untilMs: number;
  duplicate: boolean;
}

/**
 * Duplicate address detection for configured addresses that ask for it (RFC 4862 section 5.4). One that somebody else
 * has stays unused, until it has been taken out of the configuration and put back.
 */
export class AddressProbes {
  readonly #sink: AddressProbesSink;
  readonly #random: () => number;
  #all = new Map<number, Probe>(); // by address

  /** @param random From 0 to 1. */
  constructor(sink: AddressProbesSink, random: () => number) {
    this.#sink = sink;
    this.#random = random;
  }

  /** These are to be probed: those that are new. */
  follow(addresses: readonly OwnIpv6[], nowMs: number): void {
    if (addresses.length === 0 && this.#all.size === 0) return;
    const before = this.#all;
    this.#all = new Map(addresses.map(({ address, interfaceIndex }) => {
      const known = before.get(address);
      if (known?.interfaceIndex === interfaceIndex) return [address, known];
      const untilMs = nowMs + Math.floor(this.#random() * START_DELAY_MS);
      return [address, { address, interfaceIndex, probes: 0, untilMs, duplicate: false }];
    }));
    this.#tell();
  }

  isTentative(interfaceIndex: number, address: number): boolean {
    const probe = this.#all.get(address);
    return probe !== undefined && probe.interfaceIndex === interfaceIndex && probe.untilMs < Infinity;
  }

  /** Somebody else probes, or has, an address that is tentative. */
  duplicate(address: number): void {
    const probe = this.#all.get(address)!;
    probe.untilMs = Infinity;
    probe.duplicate = true;
    this.#sink.duplicate(probe.interfaceIndex, address);
  }

  nextDeadlineMs(): number {
    let deadlineMs = Infinity;
    if (this.#all.size === 0) return deadlineMs;
    for (const { untilMs } of this.#all.values()) deadlineMs = Math.min(deadlineMs, untilMs);
    return deadlineMs;
  }

  advance(nowMs: number): void {
    if (this.#all.size === 0) return;
    let proven = false;
    for (const probe of this.#all.values()) {
      if (probe.untilMs > nowMs) continue;
      if (probe.probes < DAD_PROBES) {
        probe.probes++;
        probe.untilMs = nowMs + DAD_WAIT_MS;
        this.#sink.probe(probe.interfaceIndex, probe.address);
      } else {
        probe.untilMs = Infinity;
        proven = true;
      }
    }
    if (proven) this.#tell();
  }

  #tell(): void {
    const withheld = new Set<number>();
    for (const { address, untilMs, duplicate } of this.#all.values()) {
      if (duplicate || untilMs < Infinity) withheld.add(address);
    }
    this.#sink.withheld(withheld);
  }
}
