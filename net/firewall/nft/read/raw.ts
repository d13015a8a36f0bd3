import type { Expression, LogFlag, NatFlag, StatefulStatement, Statement, Verdict } from "../schema.ts";

/** Where something stands: an offset into the text, or a path of the JSON document. */
export type At = number | string;

/** Whoever reads a document, and can say where in it something is wrong. */
export interface Source {
  fail(at: At, message: string): never;
  /** Remembers where the statements of a rule stand. */
  note?(statements: readonly object[], at: readonly At[]): void;
}

export type BinaryOp = "&" | "|" | "^" | "<<" | ">>";

/** An expression as it was written, before anybody knows of which type its words are. */
export type Raw = RawNode & { readonly at: At };

type RawNode =
  | { readonly kind: "word"; readonly text: string; readonly quoted: boolean }
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "boolean"; readonly value: boolean }
  /** `@name`. */
  | { readonly kind: "reference"; readonly name: string }
  /** `*`. */
  | { readonly kind: "any" }
  /** `syn,ack`: flags. */
  | { readonly kind: "list"; readonly items: readonly Raw[] }
  | { readonly kind: "concat"; readonly items: readonly Raw[] }
  | { readonly kind: "set"; readonly items: readonly RawElement[] }
  | { readonly kind: "prefix"; readonly address: Raw; readonly length: number }
  | { readonly kind: "range"; readonly low: Raw; readonly high: Raw }
  /** Something of the packet: complete in itself. */
  | { readonly kind: "selector"; readonly expression: Expression }
  | {
    readonly kind: "jhash";
    readonly of: Raw;
    readonly mod: number;
    readonly offset: number;
    readonly seed?: number;
  }
  | { readonly kind: "binary"; readonly op: BinaryOp; readonly left: Raw; readonly right: Raw }
  | { readonly kind: "map"; readonly key: Raw; readonly data: Raw };

export interface RawElement {
  readonly key: Raw;
  readonly data?: Raw | RawVerdict;
  readonly timeout?: number;
  readonly expires?: number;
  readonly comment?: string;
  readonly stmt: readonly StatefulStatement[];
  readonly at: At;
}

export interface RawVerdict {
  readonly kind: "verdict";
  readonly verdict: Verdict;
  readonly at: At;
}

export type RawOp = "==" | "!=" | "<" | ">" | "<=" | ">=" | "in" | "!";

/** A statement before its expressions have types. */
export type RawStatement = RawStatementNode & { readonly at: At };

type RawStatementNode =
  /** No `op`: what nft takes when none is written. */
  | { readonly kind: "match"; readonly op?: RawOp; readonly left: Raw; readonly right: Raw }
  | { readonly kind: "mangle"; readonly key: Raw; readonly value: Raw }
  | { readonly kind: "vmap"; readonly key: Raw; readonly data: Raw }
  | { readonly kind: "ready"; readonly statement: Statement }
  | { readonly kind: "use"; readonly what: "counter" | "quota" | "limit"; readonly name: Raw }
  | { readonly kind: "reject"; readonly type?: RejectType; readonly code?: Raw }
  | {
    readonly kind: "nat";
    readonly what: NatKind;
    readonly family?: "ip" | "ip6";
    readonly addr?: Raw;
    readonly port?: Raw;
    readonly flags: readonly NatFlag[];
  }
  | { readonly kind: "queue"; readonly num?: Raw; readonly flags: readonly ("bypass" | "fanout")[] }
  | {
    readonly kind: "update";
    readonly op: "add" | "update" | "delete";
    readonly name: string;
    readonly element: RawElement;
  }
  | { readonly kind: "meter"; readonly name: string; readonly element: RawElement; readonly size?: number };

export type RejectType = "tcp reset" | "icmp" | "icmpv6" | "icmpx";
export type NatKind = "snat" | "dnat" | "masquerade" | "redirect";

export const LOG_FLAGS: readonly LogFlag[] = [
  ...["tcp sequence", "tcp options", "ip options", "skuid", "ether", "all"] as const,
];
export const NAT_FLAGS: readonly NatFlag[] = ["random", "fully-random", "persistent", "netmap"];
