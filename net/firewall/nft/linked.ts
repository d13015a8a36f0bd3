import type { Chain, Family, Log, NamedSet, Rule, Table } from "./schema.ts";

/**
 * Rules after linking: names are resolved, constants are numbers, what nft asks for by itself (that a packet is
 * TCP before its port is compared) stands there, and everything has been checked as nft and the kernel check
 * it. The walk and the compiled form both read this.
 */
export interface LinkedRules {
  readonly tables: readonly Table[];
  readonly chains: readonly LinkedChain[];
  /** Base chains by `Hook`, in the order in which packets meet them; those of type nat apart. */
  readonly hooks: readonly (readonly LinkedChain[])[];
  readonly nats: readonly (readonly LinkedChain[])[];
  readonly sets: readonly LinkedSet[];
  /** What keeps count, by number: in rules, and named. Elements of sets have their own. */
  readonly cells: readonly CellSpec[];
  /** Number generators. */
  readonly generators: number;
  /** Names of interfaces by index. */
  readonly interfaces: readonly string[];
}

export interface LinkedChain {
  /** Position in `LinkedRules.chains`. */
  readonly id: number;
  readonly family: Family;
  readonly table: string;
  readonly name: string;
  readonly chain: Chain;
  /** `Nfproto` of the packets that enter, or 0 for both. */
  readonly nfproto: number;
  readonly priority: number;
  readonly policy: "accept" | "drop";
  readonly isBase: boolean;
  readonly rules: readonly LinkedRule[];
}

export interface LinkedRule {
  readonly rule: Rule;
  readonly ops: readonly Op[];
}

/** A value that is looked up for a packet. A packet that does not have it ends the rule. */
export type Value = { readonly bits: number } & ValueKind;
export type ValueKind =
  | { readonly op: "const"; readonly value: bigint }
  | { readonly op: "payload"; readonly base: "nh" | "th"; readonly bit: number }
  | { readonly op: "meta"; readonly key: MetaName }
  | { readonly op: "ct"; readonly key: CtName; readonly direction: number }
  | {
    readonly op: "fib";
    readonly result: "type" | "oif" | "oifname" | "exists";
    readonly destination: boolean;
    readonly restrict: "iif" | "oif" | undefined;
  }
  | { readonly op: "tcp option"; readonly kind: number; readonly bit: number; readonly exists: boolean }
  | { readonly op: "exthdr"; readonly kind: number; readonly bit: number; readonly exists: boolean }
  | {
    readonly op: "numgen";
    readonly generator: number;
    readonly random: boolean;
    readonly mod: number;
    readonly offset: number;
  }
  /** The largest segment of TCP that the packet's way takes, there and back. */
  | { readonly op: "rt mtu" }
  | { readonly op: "&" | "|" | "^" | "<<" | ">>"; readonly left: Value; readonly right: Value }
  /** The part `part` of what a map has for the key. */
  | { readonly op: "map"; readonly key: readonly Value[]; readonly set: LinkedSet; readonly part: number };

export type MetaName =
  | "length"
  | "protocol"
  | "nfproto"
  | "l4proto"
  | "mark"
  | "priority"
  | "iif"
  | "oif"
  | "iifname"
  | "oifname"
  | "pkttype"
  | "random"
  | "time"
  | "hour"
  | "day";

export type CtName =
  | "state"
  | "direction"
  | "status"
  | "mark"
  | "expiration"
  | "l3proto"
  | "protocol"
  | "proto-src"
  | "proto-dst"
  | "ip saddr"
  | "ip daddr"
  | "ip6 saddr"
  | "ip6 daddr"
  | "bytes"
  | "packets"
  | "zone";

export type LinkedVerdict =
  | { readonly kind: "accept" | "drop" | "continue" | "return" }
  | { readonly kind: "jump" | "goto"; readonly chain: number };

/** How a packet is refused. */
export interface RejectSpec {
  readonly type: "tcp reset" | "icmp" | "icmpv6" | "icmpx";
  readonly code: number;
  /** The rule's comment, for who is told in words. */
  readonly comment?: string;
}

/** What keeps count. */
export type CellSpec =
  | { readonly kind: "counter"; readonly packets: number; readonly bytes: number }
  | { readonly kind: "quota"; readonly bytes: number; readonly used: number; readonly inv: boolean }
  | {
    readonly kind: "limit";
    readonly rate: number;
    readonly perSeconds: number;
    readonly burst: number;
    readonly isBytes: boolean;
    readonly inv: boolean;
  }
  | { readonly kind: "ct count"; readonly val: number; readonly inv: boolean };

export interface LinkedNat {
  readonly kind: "snat" | "dnat" | "masquerade" | "redirect";
  /** `Nfproto` of the addresses, or 0. */
  readonly nfproto: number;
  /** From and to, the same for one address. */
  readonly address?: readonly [Value, Value];
  readonly port?: readonly [Value, Value];
  /** Or a map that has the address, and perhaps the port: its key is looked up once for both. */
  readonly map?: { readonly key: readonly Value[]; readonly set: LinkedSet; readonly hasPort: boolean };
  /** Of `NatFlag`. */
  readonly flags: number;
}

/** A step of a rule. `at` is the statement of the rule that it comes from; `implied` ones nft adds by itself. */
export type Op = { readonly at: number; readonly implied?: boolean } & OpKind;
export type OpKind =
  /** Each part lies within its bounds; `compare` other than == and != has one part and looks at `low`. */
  | {
    readonly op: "test";
    readonly parts: readonly Value[];
    readonly compare: "==" | "!=" | "<" | ">" | "<=" | ">=" | "in";
    readonly low: readonly bigint[];
    readonly high: readonly bigint[];
  }
  | {
    readonly op: "lookup";
    readonly parts: readonly Value[];
    readonly set: LinkedSet;
    readonly negate: boolean;
  }
  | { readonly op: "vmap"; readonly parts: readonly Value[]; readonly set: LinkedSet }
  | { readonly op: "verdict"; readonly verdict: LinkedVerdict }
  | { readonly op: "cell"; readonly cell: number }
  /** The object that a map has for the key. */
  | { readonly op: "cell map"; readonly parts: readonly Value[]; readonly set: LinkedSet }
  | { readonly op: "log"; readonly log: Log }
  | { readonly op: "reject"; readonly reject: RejectSpec }
  | { readonly op: "queue" }
  | { readonly op: "notrack" }
  | { readonly op: "set meta"; readonly key: "mark" | "priority" | "nftrace"; readonly value: Value }
  | { readonly op: "set ct"; readonly value: Value }
  /** Of a packet that has not been tracked yet. */
  | { readonly op: "set zone"; readonly value: Value }
  /** A field of the IP header is written. */
  | { readonly op: "set payload"; readonly bit: number; readonly bits: number; readonly value: Value }
  /** 16 bits of a TCP option are written, from its byte `offset` on. */
  | { readonly op: "set option"; readonly kind: number; readonly offset: number; readonly value: Value }
  | {
    readonly op: "update";
    readonly mode: "add" | "update" | "delete";
    readonly parts: readonly Value[];
    readonly set: LinkedSet;
    /** Seconds, undefined for the set's own. */
    readonly timeout: number | undefined;
    readonly cells: readonly CellSpec[];
    readonly data: readonly Value[] | LinkedVerdict | undefined;
  }
  | { readonly op: "nat"; readonly nat: LinkedNat }
  /** The flow's name is one of these: see `NameMatch`. `question` is its number among all such. */
  | {
    readonly op: "names";
    readonly key: "tls sni" | "http host" | "name";
    readonly right: readonly string[];
    readonly negate: boolean;
    readonly question: number;
  };

/** A set or map, named or in a rule. */
export interface LinkedSet {
  /** Position in `LinkedRules.sets`. */
  readonly id: number;
  readonly family: Family;
  readonly table: string;
  /** Empty for one that stands in a rule. */
  readonly name: string;
  readonly named: NamedSet | undefined;
  /** Bits of each part of the key. */
  readonly parts: readonly number[];
  readonly data: "verdict" | "cell" | readonly number[] | undefined;
  /** Keys lead to intervals: in the data of an element the ends stand behind the beginnings. */
  readonly ranged: boolean;
  /** Whether rules change it, or time does. */
  readonly changes: boolean;
  /** Seconds, 0 for ever. */
  readonly timeout: number;
  readonly size: number;
  /** What each element keeps. */
  readonly cells: readonly CellSpec[];
  readonly elements: readonly LinkedElement[];
  /** What holds for every key that no element has. */
  readonly rest: LinkedElement | undefined;
}

export interface LinkedElement {
  /** Bounds of each part, both included. */
  readonly low: readonly bigint[];
  readonly high: readonly bigint[];
  readonly data: LinkedVerdict | readonly bigint[] | number | undefined;
  /** Seconds, 0 for ever; and what is left of them. */
  readonly timeout: number;
  readonly expires: number;
  readonly cells: readonly CellSpec[];
}
