import type { Expression, Family, Statement } from "../schema.ts";
import type { At, Source } from "./raw.ts";

const TCP = 6;
const ECHO = { icmp: [0, 8], icmpv6: [128, 129] } as const;
const NF_PROTO = { ip: 2, ip6: 10 } as const;

/** Where nft puts a match that it adds: at the beginning of the rule, or right before the statement that needs it. */
export interface Implied {
  readonly first: readonly Statement[];
  readonly before: readonly Statement[];
}

const NOTHING: Implied = { first: [], before: [] };

/**
 * The matches that nft adds for a statement that makes sense only behind them: TCP for a reset, the types of echoes for
 * their `id`, and in family inet the family for an ICMP error or an address of one.
 */
export function impliedBy(
  source: Source,
  family: Family,
  before: readonly Statement[],
  statement: Statement,
  at: At,
): Implied {
  if ("reject" in statement) {
    const { type } = statement.reject;
    if (type === "icmpx") return NOTHING;
    const first = type === "tcp reset"
      ? needsTcp(source, before, at)
      : needsFamily(family, before, type === "icmp" ? "ip" : "ip6");
    return { first, before: [] };
  }
  for (const kind of ["snat", "dnat"] as const) {
    if (!(kind in statement)) continue;
    const of = (statement as unknown as Record<typeof kind, { family?: "ip" | "ip6" }>)[kind].family;
    return of === undefined ? NOTHING : { first: [], before: needsFamily(family, before, of) };
  }
  const asked = askedBy(statement);
  if (asked !== undefined) {
    for (const protocol of ["icmp", "icmpv6"] as const) {
      if (reads(asked, protocol, "id") || reads(asked, protocol, "sequence")) {
        if (before.some((one) => "match" in one && reads(one.match.left, protocol, "type"))) return NOTHING;
        const set = ECHO[protocol].map((val) => ({ val }));
        const left = { payload: { protocol, field: "type" } };
        return { first: [], before: [{ match: { op: "==", left, right: { set } } }] };
      }
    }
  }
  return NOTHING;
}

/** What a statement looks up in the packet first. */
function askedBy(statement: Statement): Expression | undefined {
  if ("match" in statement) return statement.match.left;
  if ("vmap" in statement) return statement.vmap.key;
  if (!("mangle" in statement)) return undefined;
  const { value } = statement.mangle;
  return typeof value === "object" && "map" in value ? value.map.key : value;
}

/** Refuses `ct original saddr` where nothing says of which family it is. */
export function checkCtFamily(source: Source, family: Family, statement: Statement, at: At): void {
  const left = "match" in statement
    ? statement.match.left
    : "vmap" in statement
    ? statement.vmap.key
    : undefined;
  if (left === undefined || family === "ip") return;
  if (mentions(left, (part) => "ct" in part && (part.ct.key === "saddr" || part.ct.key === "daddr"))) {
    source.fail(
      at,
      'Nothing says of which family this address is: use "ip saddr" or "ip6 saddr" behind the direction',
    );
  }
}

function needsTcp(source: Source, before: readonly Statement[], at: At): Statement[] {
  for (const one of before) {
    if (!("match" in one)) continue;
    const { op, left, right } = one.match;
    if (
      mentions(
        left,
        (part) => "payload" in part && "protocol" in part.payload && part.payload.protocol === "tcp",
      )
    ) {
      return [];
    }
    if (mentions(left, (part) => "tcp option" in part)) return [];
    const protocol = isMeta(left, "l4proto") || reads(left, "ip", "protocol") ||
      reads(left, "ip6", "nexthdr");
    if (!protocol) continue;
    if (op === "==" && right === TCP) return [];
    if (op === "==") source.fail(at, "Only TCP has resets");
  }
  return [{ match: { op: "==", left: { meta: { key: "l4proto" } }, right: TCP } }];
}

function needsFamily(family: Family, before: readonly Statement[], of: "ip" | "ip6"): Statement[] {
  if (family !== "inet" || familyOf(before) === of) return [];
  return [{ match: { op: "==", left: { meta: { key: "nfproto" } }, right: NF_PROTO[of] } }];
}

/** The family that packets have for which all these statements hold, where one of them says it. */
export function familyOf(before: readonly Statement[]): "ip" | "ip6" | undefined {
  for (const one of before) {
    const left = "match" in one ? one.match.left : "vmap" in one ? one.vmap.key : undefined;
    if (left === undefined) continue;
    for (const [family, protocols] of [["ip", ["ip", "icmp"]], ["ip6", ["ip6", "icmpv6"]]] as const) {
      if (
        "match" in one && isMeta(left, "nfproto") && one.match.op === "==" &&
        one.match.right === NF_PROTO[family]
      ) {
        return family;
      }
      const names: readonly string[] = protocols;
      if (
        mentions(
          left,
          (part) => "payload" in part && "protocol" in part.payload && names.includes(part.payload.protocol),
        )
      ) return family;
    }
  }
  return undefined;
}

/** Whether an expression or some part of it is what `is` looks for. */
function mentions(
  expression: Expression,
  is: (part: Exclude<Expression, string | number | boolean>) => boolean,
): boolean {
  if (typeof expression !== "object") return false;
  if (is(expression)) return true;
  if ("concat" in expression) return expression.concat.some((part) => mentions(part, is));
  for (const op of ["&", "|", "^", "<<", ">>"] as const) {
    if (op in expression) {
      return mentions((expression as Record<typeof op, [Expression, Expression]>)[op][0], is);
    }
  }
  return false;
}

function reads(expression: Expression, protocol: string, field: string): boolean {
  return typeof expression === "object" && "payload" in expression && "protocol" in expression.payload &&
    expression.payload.protocol === protocol && expression.payload.field === field;
}

function isMeta(expression: Expression, key: string): boolean {
  return typeof expression === "object" && "meta" in expression && expression.meta.key === key;
}
