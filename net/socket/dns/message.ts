/** What `resolveDns` answers, by the type of record, in Deno's shapes. Names end with a dot. */
export interface DnsRecords {
  A: string;
  AAAA: string;
  CAA: { critical: boolean; tag: string; value: string };
  CNAME: string;
  MX: { preference: number; exchange: string };
  NAPTR: {
    order: number;
    preference: number;
    flags: string;
    services: string;
    regexp: string;
    replacement: string;
  };
  NS: string;
  PTR: string;
  SOA: {
    mname: string;
    rname: string;
    serial: number;
    refresh: number;
    retry: number;
    expire: number;
    minimum: number;
  };
  SRV: { priority: number; weight: number; port: number; target: string };
  TXT: string[];
}
export type DnsType = keyof DnsRecords;

export const DNS_TYPES: readonly DnsType[] = [
  ...["A", "AAAA", "CAA", "CNAME", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "TXT"] as const,
];

/** A record of an answer; `value` has the shape that its type has. */
export interface DnsRecord {
  /** In lower case, without the last dot. */
  readonly name: string;
  readonly type: DnsType;
  readonly ttl: number;
  readonly value: unknown;
}

/** A response that fits its query. */
export interface DnsResponse {
  /** "NOERROR", "NXDOMAIN", "SERVFAIL", ... */
  readonly code: string;
  /** There is more: ask again by TCP. */
  readonly truncated: boolean;
  readonly answers: readonly DnsRecord[];
  /** Seconds for which "there is none" holds (RFC 2308 section 5), 0 when the response does not say. */
  readonly negativeTtl: number;
}

/** Bytes that an answer by UDP may have: they pass everywhere unfragmented (DNS flag day 2020). */
export const UDP_ANSWER_MAX = 1_232;

/** Names as they are compared: ASCII without case (RFC 4343), without the last dot. */
export function canonical(name: string): string {
  return withoutDot(name).toLowerCase();
}

/** A name without its last dot, in its own letters. */
export function withoutDot(name: string): string {
  return name.endsWith(".") ? name.slice(0, -1) : name;
}
