/**
 * nftables rules as data: the objects, statements and expressions of libnftables-json(5), schema version 1, after
 * normalisation. The reader of JSON and the parser of `nft -f` text both give these, so the same rules in either
 * language are deeply equal, and whoever evaluates them sees one spelling of each thing:
 *
 * - Whatever has a number is that number: ports, protocols, marks, ICMP types and codes, `ct state`, TCP flags,
 *   DSCP. Lists of flags (`["established","related"]`) are or-ed into one number. Strings that remain are addresses
 *   (canonical text, as nft prints them), names of interfaces (`"eth*"`: a prefix of names), `@set` and `"*"`.
 * - A list whose members could be a single value or an array (`flags`, `type`) is an array, sorted where order says nothing.
 * - Rates, bursts and quotas count packets or bytes; kbytes and mbytes are multiplied out. Times are seconds.
 * - Times of day (`meta hour`) are seconds since midnight UTC, days 0 (Sunday) to 6, `meta time` seconds since 1970.
 * - What nft adds before it loads a rule is there: `reject with tcp reset` stands behind a match of TCP, `icmp id` behind one of
 *   echo types, and in family inet `reject with icmp` and `dnat ip` behind one of the family.
 * - What JSON may omit is there with its default (`inv`, `burst`, `offset`, `policy`, reject's type and code), but for
 *   what is optional here.
 * - Elements of sets are always the long form (`SetElement`), also in anonymous sets; `[key, data]` pairs are `MapElement`.
 *   Anonymous sets are in rising order, their overlapping intervals merged, an interval that is a prefix is written as one.
 * - `ip saddr & 255.255.0.0 == 10.0.0.0` is a prefix, `tcp flags & (fin | syn) != 0` is `in`.
 * - The rules of a table hang in a tree: chains hold their rules, tables hold their objects.
 *
 * Types only: nothing here runs.
 *
 * @module
 */

/** Families of tables. arp, bridge and netdev see frames that this stack does not filter: they are refused. */
export type Family = "ip" | "ip6" | "inet";

/** Everything that is loaded, as `nft list ruleset` shows it. Names of tables are unique within a family. */
export interface Ruleset {
  /** @internal The tables, as this file describes them. */
  readonly tables: readonly Table[];
}

export interface Table {
  readonly family: Family;
  readonly name: string;
  readonly handle?: number;
  readonly comment?: string;
  /** A dormant table's base chains are not asked. */
  readonly dormant: boolean;
  readonly chains: readonly Chain[];
  /** Sets and maps: a map is a set with `data`. Their names share one space. */
  readonly sets: readonly NamedSet[];
  readonly counters: readonly NamedCounter[];
  readonly quotas: readonly NamedQuota[];
  readonly limits: readonly NamedLimit[];
}

export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting";
export type ChainType = "filter" | "nat" | "route";

/** What makes a chain a base chain: where packets enter it, and what happens to those it lets through undecided. */
export interface BaseChain {
  readonly type: ChainType;
  readonly hook: Hook;
  /** Chains on one hook are asked in rising order; `filter` is 0, `dstnat` -100, `srcnat` 100, `mangle` -150, `raw` -300. */
  readonly prio: number;
  readonly policy: "accept" | "drop";
}

export interface Chain {
  readonly name: string;
  readonly handle?: number;
  readonly comment?: string;
  /** Absent in chains that are only jumped to. */
  readonly base?: BaseChain;
  readonly rules: readonly Rule[];
}

export interface Rule {
  /** Statements from left to right: the first that does not hold ends the rule. */
  readonly expr: readonly Statement[];
  readonly comment?: string;
  readonly handle?: number;
  /** The line of the file it was read from, counted from 1, for those who explain. Says nothing about equality. */
  readonly line?: number;
}

/** Types of keys and data of sets, by nft's names. */
export type DataType =
  | "ipv4_addr"
  | "ipv6_addr"
  | "ether_addr"
  | "inet_proto"
  | "inet_service"
  | "mark"
  | "ifname"
  | "iface_index"
  | "ct_state"
  | "ct_dir"
  | "ct_status"
  | "icmp_type"
  | "icmp_code"
  | "icmpv6_type"
  | "icmpv6_code"
  | "icmpx_code"
  | "tcp_flag"
  | "dscp"
  | "ecn"
  | "nf_proto"
  | "ether_type"
  | "pkt_type"
  | "fib_addrtype"
  | "uid"
  | "gid"
  | "classid"
  | "devgroup"
  | "time"
  | "date"
  | "day"
  | "hour"
  | "boolean"
  | "string"
  | "integer";

export type SetFlag = "constant" | "dynamic" | "interval" | "timeout";

/** A named set, or with `data` a named map. */
export interface NamedSet {
  readonly name: string;
  readonly handle?: number;
  readonly comment?: string;
  /** One per part of a concatenated key. */
  readonly type: readonly DataType[];
  /** What a map's keys lead to: a value (several parts: a concatenation), a verdict, or a named object of the table. */
  readonly data?: MapData;
  /** Sorted. */
  readonly flags: readonly SetFlag[];
  /** Seconds that elements live that say nothing themselves; absent: for ever. */
  readonly timeout?: number;
  /** Seconds. */
  readonly gcInterval?: number;
  /** Elements at most. */
  readonly size?: number;
  readonly policy?: "performance" | "memory";
  readonly autoMerge: boolean;
  /** State that every new element gets. */
  readonly stmt: readonly StatefulStatement[];
  readonly elem: readonly (SetElement | MapElement)[];
}

export type MapData =
  /** `interval`: keys lead to ranges and prefixes (`type ipv4_addr : interval ipv4_addr`), for translations. */
  | { readonly value: readonly DataType[]; readonly interval?: true }
  | { readonly verdict: null }
  | { readonly object: "counter" | "quota" | "limit" };

/** An element of a set. */
export interface SetElement {
  /** A value, prefix or range, a concatenation of those, or `"*"` for every key that no other element has. */
  readonly val: Expression;
  /** Seconds it lives, and seconds that are left of them. */
  readonly timeout?: number;
  readonly expires?: number;
  readonly comment?: string;
  /** Its state, as the set's `stmt` asks for. Absent: none. */
  readonly stmt?: readonly StatefulStatement[];
}

/** An element of a map. `data` is a value, a verdict, or `{ object }`, the name of a counter, quota or limit. */
export interface MapElement extends SetElement {
  readonly data: Expression | Verdict | ObjectName;
}

export interface ObjectName {
  readonly object: string;
}

export interface Counter {
  readonly packets: number;
  readonly bytes: number;
}

/** Holds while no more than `bytes` went by; with `inv` (`over`) once more did. */
export interface Quota {
  readonly bytes: number;
  readonly used: number;
  readonly inv: boolean;
}

export type TimeUnit = "second" | "minute" | "hour" | "day" | "week";

/** A token bucket. Holds while there are tokens; with `inv` (`over`) while there are none. */
export interface Limit {
  /** Packets or bytes (`unit`) each `per`. */
  readonly rate: number;
  readonly per: TimeUnit;
  /** In `unit`. Packets: 5 when the file says nothing; bytes: 0. */
  readonly burst: number;
  readonly unit: "packets" | "bytes";
  readonly inv: boolean;
}

export interface NamedCounter extends Counter {
  readonly name: string;
  readonly handle?: number;
  readonly comment?: string;
}

export interface NamedQuota extends Quota {
  readonly name: string;
  readonly handle?: number;
  readonly comment?: string;
}

export interface NamedLimit extends Limit {
  readonly name: string;
  readonly handle?: number;
  readonly comment?: string;
}

/** An operand of which the packet does not have the header ends the rule, with `!=` as well: `tcp dport != 80` matches no UDP packet. */
export interface Match {
  /** `in`: some bit of `right` is set on the left (`ct state established,related`). Equality with a set, range or prefix: lies in it. */
  readonly op: "==" | "!=" | "<" | ">" | "<=" | ">=" | "in";
  readonly left: Expression;
  readonly right: Expression;
}

export type Verdict =
  | { readonly accept: null }
  | { readonly drop: null }
  | { readonly continue: null }
  | { readonly return: null }
  | { readonly jump: { readonly target: string } }
  | { readonly goto: { readonly target: string } };

/** Statements with a state of their own, in a rule or in an element of a set. */
export type StatefulStatement =
  | { readonly counter: Counter }
  | { readonly quota: Quota }
  | { readonly limit: Limit }
  | { readonly "ct count": CtCount };

/** Holds while the flow's key has at most `val` connections; with `inv` (`over`) when it has more. */
export interface CtCount {
  readonly val: number;
  readonly inv: boolean;
}

/** One statement of a rule: an object with one field, as in JSON; `"match" in statement` tells them apart. */
export type Statement =
  | { readonly match: Match }
  | Verdict
  | StatefulStatement
  | ObjectReference
  | { readonly reject: Reject }
  | { readonly log: Log }
  | { readonly mangle: { readonly key: Expression; readonly value: Expression } }
  | { readonly vmap: { readonly key: Expression; readonly data: SetReference | AnonymousSet } }
  | { readonly set: SetUpdate }
  | { readonly map: MapUpdate }
  | { readonly meter: Meter }
  | { readonly snat: Nat }
  | { readonly dnat: Nat }
  | { readonly masquerade: Nat }
  | { readonly redirect: Nat }
  | { readonly queue: Queue }
  | { readonly notrack: null }
  | { readonly names: NameMatch };

/**
 * What a flow of TCP has said first, which nft knows nothing of: the server name of a TLS ClientHello, the host of an HTTP
 * request; of `name` whether it has said it already (`pending`), or will not (`missing`). What names nobody has no `tls sni` and
 * no `http host`, with `!=` neither.
 */
export interface NameMatch {
  readonly key: "tls sni" | "http host" | "name";
  readonly op: "==" | "!=";
  /** Names as `parseNamePattern` gives them, in order; of `name` one word. */
  readonly right: readonly string[];
}

/**
 * A counter, quota or limit of the table: by name, or by the map that a key leads to (`counter name ip saddr map @m`).
 * Its own kind of statement, unlike in JSON, where `{ "counter": "name" }` stands beside `{ "counter": { ... } }`.
 */
export interface ObjectReference {
  readonly use: { readonly kind: "counter" | "quota" | "limit"; readonly name: string | MapExpression };
}

/** `expr` is an ICMP code: of `icmp`, `icmpv6`, or of `icmpx` (0 no-route, 1 port-unreachable, 2 host-unreachable, 3 admin-prohibited). */
export type Reject =
  | { readonly type: "tcp reset" }
  | { readonly type: "icmp" | "icmpv6" | "icmpx"; readonly expr: number };

export type LogLevel = "emerg" | "alert" | "crit" | "err" | "warn" | "notice" | "info" | "debug" | "audit";
export type LogFlag = "tcp sequence" | "tcp options" | "ip options" | "skuid" | "ether" | "all";

export interface Log {
  readonly prefix?: string;
  readonly group?: number;
  readonly snaplen?: number;
  readonly queueThreshold?: number;
  /** Absent: `warn`. */
  readonly level?: LogLevel;
  /** Sorted as in `LogFlag`; `all` stands alone. */
  readonly flags: readonly LogFlag[];
}

export type NatFlag = "random" | "fully-random" | "persistent" | "netmap";

/** `masquerade` and `redirect` have neither `addr` nor `family`. */
export interface Nat {
  /** A value, range or prefix, or a map that gives one; with a concatenation of address and port it gives both. */
  readonly addr?: Expression;
  /** There whenever `addr` is. */
  readonly family?: "ip" | "ip6";
  readonly port?: Expression;
  /** Sorted as in `NatFlag`. */
  readonly flags: readonly NatFlag[];
}

/** For us: what becomes of the packet is what the wake policy of the connection says; nothing is sent to user space. */
export interface Queue {
  /** A number or a range. */
  readonly num: Expression;
  readonly flags: readonly ("bypass" | "fanout")[];
}

/** `add @blocked { ip saddr timeout 1h limit rate over 5/second }`. With `stmt`, the rule goes on only when those hold. */
export interface SetUpdate {
  readonly op: "add" | "update" | "delete";
  readonly set: SetReference;
  readonly elem: Expression;
  /** Seconds; absent: the set's own. */
  readonly timeout?: number;
  readonly comment?: string;
  readonly stmt: readonly StatefulStatement[];
}

/** `add @map { ip saddr : meta mark }`. */
export interface MapUpdate extends Omit<SetUpdate, "set"> {
  readonly map: SetReference;
  readonly data: Expression | Verdict;
}

/** The older spelling of a set that a rule fills: `meter name { ip saddr limit rate over 5/second }`. */
export interface Meter {
  readonly name: string;
  readonly key: Expression;
  readonly timeout?: number;
  readonly size?: number;
  readonly stmt: StatefulStatement;
}

/** `"@name"`: a set or map of the same table. */
export type SetReference = `@${string}`;

/** A literal. Numbers are whole, at least 0 and safe integers (`ct bytes` may need more than 32 bits). */
export type Immediate = number | string | boolean;

/** An expression: an immediate, or an object with one field, as in JSON. Strings that begin with `@` are references. */
export type Expression =
  | Immediate
  | SetReference
  | { readonly concat: readonly Expression[] }
  | AnonymousSet
  | MapExpression
  | { readonly prefix: { readonly addr: string; readonly len: number } }
  | { readonly range: readonly [Immediate, Immediate] }
  | { readonly payload: Payload }
  | { readonly exthdr: { readonly name: string; readonly field?: string } }
  | { readonly "tcp option": { readonly name: string; readonly field?: string } }
  | { readonly meta: { readonly key: MetaKey } }
  | { readonly rt: { readonly key: "mtu" } }
  | { readonly ct: Ct }
  | { readonly fib: Fib }
  | { readonly numgen: { readonly mode: "inc" | "random"; readonly mod: number; readonly offset: number } }
  | { readonly jhash: Jhash }
  | { readonly symhash: { readonly mod: number; readonly offset: number } }
  | { readonly "|": readonly [Expression, Expression] }
  | { readonly "^": readonly [Expression, Expression] }
  | { readonly "&": readonly [Expression, Expression] }
  | { readonly "<<": readonly [Expression, Expression] }
  | { readonly ">>": readonly [Expression, Expression] };

export interface AnonymousSet {
  readonly set: readonly (SetElement | MapElement)[];
}

/** The value that `key` leads to. No element for the key ends the rule. */
export interface MapExpression {
  readonly map: { readonly key: Expression; readonly data: SetReference | AnonymousSet };
}

export type Payload =
  /** Offset and length in bits from the start of the header, as in `@th,16,16`. Refused: `ll`, there are no Ethernet frames here. */
  | { readonly base: "nh" | "th"; readonly offset: number; readonly len: number }
  /** Fields by nft's names. `th`: whatever transport has ports there. */
  | { readonly protocol: PayloadProtocol; readonly field: string };

export type PayloadProtocol = "ip" | "ip6" | "icmp" | "icmpv6" | "tcp" | "udp" | "th";

export type MetaKey =
  | "length"
  | "protocol"
  | "nfproto"
  | "l4proto"
  | "mark"
  | "iif"
  | "iifname"
  | "oif"
  | "oifname"
  | "pkttype"
  | "skuid"
  | "skgid"
  | "nftrace"
  | "random"
  | "cpu"
  | "priority"
  | "iifgroup"
  | "oifgroup"
  | "time"
  | "day"
  | "hour";

export type CtKey =
  | "state"
  | "direction"
  | "status"
  | "mark"
  | "expiration"
  | "helper"
  | "l3proto"
  | "protocol"
  | "saddr"
  | "daddr"
  | "ip saddr"
  | "ip daddr"
  | "ip6 saddr"
  | "ip6 daddr"
  | "proto-src"
  | "proto-dst"
  | "bytes"
  | "packets"
  | "avgpkt"
  | "zone"
  | "id";

export interface Ct {
  readonly key: CtKey;
  readonly dir?: "original" | "reply";
}

/** With `result` `oif` or `oifname` and a boolean on the right: `exists` or `missing`. */
export interface Fib {
  readonly result: "oif" | "oifname" | "type";
  /** Order: saddr, daddr, mark, iif, oif. */
  readonly flags: readonly ("saddr" | "daddr" | "mark" | "iif" | "oif")[];
}

export interface Jhash {
  readonly expr: Expression;
  readonly mod: number;
  readonly offset: number;
  readonly seed?: number;
}

/** Where an object lives; the table's family and name are on every object of a file, as in JSON. */
export interface InTable {
  readonly family: Family;
  readonly table: string;
}

/** What a command names; all but a table live in one. */
export type NftObject =
  | { readonly table: Pick<Table, "family" | "name" | "handle" | "comment" | "dormant"> }
  /** `policy` without `base`: another policy for a base chain that is there. */
  | { readonly chain: InTable & Omit<Chain, "rules"> & { readonly policy?: "accept" | "drop" } }
  | { readonly rule: InTable & Rule & { readonly chain: string; readonly index?: number } }
  | { readonly set: InTable & NamedSet }
  | {
    readonly element: InTable & {
      readonly name: string;
      readonly elem: readonly (SetElement | MapElement)[];
    };
  }
  | { readonly counter: InTable & NamedCounter }
  | { readonly quota: InTable & NamedQuota }
  | { readonly limit: InTable & NamedLimit };

/** What `delete` and `flush` name: by name, or where there is a handle by that. */
export type NftTarget =
  | { readonly ruleset: { readonly family?: Family } }
  | { readonly table: { readonly family: Family; readonly name: string } }
  | { readonly chain: InTable & { readonly name: string } }
  | { readonly rule: InTable & { readonly chain: string; readonly handle: number } }
  | { readonly set: InTable & { readonly name: string } }
  | { readonly element: InTable & { readonly name: string; readonly elem: readonly SetElement[] } }
  | { readonly counter: InTable & { readonly name: string } }
  | { readonly quota: InTable & { readonly name: string } }
  | { readonly limit: InTable & { readonly name: string } };

/**
 * One step of a file. A file is a list of them, and they take effect together or not at all. `create` and `delete` fail where
 * `add` and `destroy` find the work done already. JSON's bare objects, as `list ruleset` prints them, are `add`.
 * `at` is where it stands: `line:column` of a text, or a path like `nftables[3].add`.
 */
export type Command =
  | { readonly op: "add" | "create" | "insert" | "replace"; readonly object: NftObject; readonly at: string }
  | { readonly op: "delete" | "destroy" | "flush"; readonly target: NftTarget; readonly at: string }
  | {
    readonly op: "rename";
    readonly chain: InTable & { readonly name: string; readonly newname: string };
    readonly at: string;
  };
