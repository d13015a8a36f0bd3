import { EXTENSIONS, type HeaderField, HEADERS, TCP_OPTIONS } from "../fields.ts";
import type { CtKey, DataType, Expression, MetaKey, PayloadProtocol } from "../schema.ts";

/** The type of what an expression gives. */
export interface ValueType {
  readonly type: DataType;
  readonly bits: number;
  /** Whether it may also be asked whether there is one at all. */
  readonly presence?: true;
}

const number = (bits: number, type: DataType = "integer"): ValueType => ({ type, bits });
const PORT = number(16, "inet_service");
const PROTOCOL = number(8, "inet_proto");
const IP4 = number(32, "ipv4_addr");
const IP6 = number(128, "ipv6_addr");

/** What is in the fields of a header. */
function typesIn(fields: Readonly<Record<string, HeaderField>>): Record<string, ValueType> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, { bits, type }]) => [name, number(bits, type)]),
  );
}

function eachOf<K extends string>(
  kinds: Readonly<Record<K, { readonly fields: Readonly<Record<string, HeaderField>> }>>,
): Record<K, Record<string, ValueType>> {
  const entries = Object.entries(kinds) as [K, { readonly fields: Readonly<Record<string, HeaderField>> }][];
  return Object.fromEntries(entries.map(([name, { fields }]) => [name, typesIn(fields)])) as Record<
    K,
    Record<string, ValueType>
  >;
}

/** Fields of headers, by nft's names. */
export const PAYLOAD_FIELDS: Readonly<Record<PayloadProtocol, Readonly<Record<string, ValueType>>>> = eachOf(
  HEADERS,
);

/** Other spellings of fields: what nft 1.0 prints here it does not read. */
export const PAYLOAD_ALIASES: Readonly<Record<string, string>> = {
  "icmpv6 param-problem": "parameter-problem",
};

export const META_KEYS: Readonly<Record<MetaKey, ValueType>> = {
  ...{ length: number(32), protocol: number(16, "ether_type"), nfproto: number(8, "nf_proto") },
  ...{ l4proto: PROTOCOL, mark: number(32, "mark"), iif: number(32, "iface_index") },
  ...{ iifname: number(128, "ifname"), oif: number(32, "iface_index"), oifname: number(128, "ifname") },
  ...{
    pkttype: number(8, "pkt_type"),
    skuid: number(32, "uid"),
    skgid: number(32, "gid"),
    nftrace: number(1),
  },
  ...{ random: number(32), cpu: number(32), priority: number(32, "classid") },
  ...{ iifgroup: number(32, "devgroup"), oifgroup: number(32, "devgroup"), time: number(64, "date") },
  ...{ day: number(8, "day"), hour: number(32, "hour") },
};

/** Meta keys that stand alone in text: `iifname "lo"`. */
export const BARE_META_KEYS: ReadonlySet<string> = new Set(
  [
    ...["mark", "iif", "iifname", "oif", "oifname", "pkttype", "skuid", "skgid", "nftrace"] as const,
    ...["iifgroup", "oifgroup"] as const,
  ] satisfies MetaKey[],
);

/** `direction`: whether the key must (true), may not (false) or may (undefined) have one. */
export const CT_KEYS: Readonly<Record<CtKey, ValueType & { readonly direction?: boolean }>> = {
  state: { ...number(32, "ct_state"), direction: false },
  direction: { ...number(8, "ct_dir"), direction: false },
  status: { ...number(32, "ct_status"), direction: false },
  mark: { ...number(32, "mark"), direction: false },
  expiration: { ...number(32, "time"), direction: false },
  helper: { ...number(128, "string"), direction: false },
  l3proto: { ...number(8, "nf_proto") },
  protocol: { ...PROTOCOL },
  saddr: { ...IP4, direction: true },
  daddr: { ...IP4, direction: true },
  "ip saddr": { ...IP4, direction: true },
  "ip daddr": { ...IP4, direction: true },
  "ip6 saddr": { ...IP6, direction: true },
  "ip6 daddr": { ...IP6, direction: true },
  "proto-src": { ...PORT, direction: true },
  "proto-dst": { ...PORT, direction: true },
  bytes: number(64),
  packets: number(64),
  avgpkt: number(64),
  zone: number(16),
  id: { ...number(32), direction: false },
};

/** IPv6 extension headers. */
export const EXTHDR_FIELDS: Readonly<Record<string, Readonly<Record<string, ValueType>>>> = eachOf(
  EXTENSIONS,
);

export const TCP_OPTION_FIELDS: Readonly<Record<string, Readonly<Record<string, ValueType>>>> = eachOf(
  TCP_OPTIONS,
);

/** Other spellings of names of TCP options. */
export const TCP_OPTION_ALIASES: Readonly<Record<string, string>> = {
  "sack-permitted": "sack-perm",
  sack0: "sack",
  mss: "maxseg",
};

/** The type of an expression that reads something from the packet; undefined for what has none of its own. */
export function typeOf(expression: Expression): ValueType | undefined {
  if (typeof expression !== "object") return undefined;
  if ("payload" in expression) {
    const { payload } = expression;
    return "base" in payload ? number(payload.len) : PAYLOAD_FIELDS[payload.protocol][payload.field];
  }
  if ("meta" in expression) return META_KEYS[expression.meta.key];
  if ("ct" in expression) return CT_KEYS[expression.ct.key];
  if ("exthdr" in expression) {
    const { name, field } = expression.exthdr;
    return field === undefined ? number(1, "boolean") : EXTHDR_FIELDS[name]?.[field];
  }
  if ("tcp option" in expression) {
    const { name, field } = expression["tcp option"];
    return field === undefined ? number(1, "boolean") : TCP_OPTION_FIELDS[name]?.[field];
  }
  if ("fib" in expression) {
    return {
      oif: { ...number(32, "iface_index"), presence: true as const },
      oifname: { ...number(128, "ifname"), presence: true as const },
      type: number(32, "fib_addrtype"),
    }[expression.fib.result];
  }
  if ("rt" in expression) return number(16);
  if ("numgen" in expression || "jhash" in expression || "symhash" in expression) return number(32);
  for (const op of ["&", "|", "^", "<<", ">>"] as const) {
    if (op in expression) return typeOf((expression as Record<typeof op, [Expression, Expression]>)[op][0]);
  }
  return undefined;
}

/** The types of the parts of a key. */
export function typesOf(expression: Expression): ValueType[] | undefined {
  if (typeof expression === "object" && "concat" in expression) {
    const types = expression.concat.map(typeOf);
    return types.includes(undefined) ? undefined : types as ValueType[];
  }
  const type = typeOf(expression);
  return type === undefined ? undefined : [type];
}
