import type { DnsRecord } from "./message.ts";

/** Answers that are remembered; the least recently used makes room. */
export const DNS_CACHE_MAX = 1_000;
/** Longer ones are cut: a mistake in a zone should not hold for weeks (RFC 8767 section 4 has seven days). */
const TTL_SECONDS_MAX = 86_400;
/** RFC 2308 section 5: one to three hours. */
const NEGATIVE_TTL_SECONDS_MAX = 3_600;

/** What was found for a name and type. */
export interface DnsFinding {
  /** "NOERROR" or "NXDOMAIN". */
  readonly code: string;
  /** Of the type, at the end of all aliases; empty when there are none. */
  readonly records: readonly DnsRecord[];
}

/** Findings by name and type, for as long as their servers say. */
export class DnsCache {
  readonly #entries = new Map<string, { finding: DnsFinding; untilMs: number }>();
  readonly #max: number;

  constructor(max: number = DNS_CACHE_MAX) {
    this.#max = max;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string, nowMs: number): DnsFinding | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.untilMs <= nowMs) return undefined;
    this.#entries.set(key, entry); // the latest used is the last
    return entry.finding;
  }

  /** @param ttl Seconds: the least of all records on the way, or what the zone says about "there is none". */
  set(key: string, finding: DnsFinding, ttl: number, nowMs: number): void {
    const most = finding.records.length > 0 ? TTL_SECONDS_MAX : NEGATIVE_TTL_SECONDS_MAX;
    this.#entries.delete(key);
    if (ttl <= 0 || this.#max === 0) return;
    if (this.#entries.size >= this.#max) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    }
    this.#entries.set(key, { finding, untilMs: nowMs + Math.min(ttl, most) * 1_000 });
  }

  clear(): void {
    this.#entries.clear();
  }
}
