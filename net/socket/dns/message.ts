/** What `resolveDns` answers, by the type of record, in Deno's shapes. Names end with a dot. */
export interface DnsRecords {
  /** An IPv4 address. */
  A: string;
  /** An IPv6 address. */
  AAAA: string;
  /** Who may issue certificates (RFC 8659). */
  CAA: { critical: boolean; tag: string; value: string };
  /** The name that this one is an alias of. */
  CNAME: string;
  /** Who takes mail. */
  MX: { preference: number; exchange: string };
  /** How to rewrite the name (RFC 3403). */
  NAPTR: {
    order: number;
    preference: number;
    flags: string;
    services: string;
    regexp: string;
    replacement: string;
  };
  /** A name server. */
  NS: string;
  /** The name of an address. */
  PTR: string;
  /** Who is responsible for the zone, and its times. */
  SOA: {
    mname: string;
    rname: string;
    serial: number;
    refresh: number;
    retry: number;
    expire: number;
    minimum: number;
  };
  /** Where a service is (RFC 2782). */
  SRV: { priority: number; weight: number; port: number; target: string };
  /** Texts. */
  TXT: string[];
}
/** The types of records that can be asked for. */
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
