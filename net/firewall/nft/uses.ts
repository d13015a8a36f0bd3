import { NatKind } from "../nat/range.ts";
import type { LinkedRules, Op, Value } from "./linked.ts";

/** What rules need beside themselves. */
export interface Uses {
  /** Connection tracking: they ask for it, or translate addresses. */
  readonly tracker: boolean;
  /** It has to count packets and bytes of flows. */
  readonly accounting: boolean;
  readonly nat: boolean;
  readonly fib: boolean;
  readonly queue: boolean;
  /** Names that flows say first. */
  readonly names: boolean;
  /** They write to packets. */
  readonly writes: boolean;
}

/** What of the stack a rule set asks for: the kernel as well follows connections only while some rule wants it. */
export function usesOf({ chains, nats, cells, sets }: LinkedRules): Uses {
  const uses = {
    tracker: false,
    accounting: false,
    nat: nats.some((each) => each.length > 0),
    fib: false,
    queue: false,
    names: false,
    writes: false,
  };
  const value = (each: Value): void => {
    if (each.op === "ct") {
      uses.tracker = true;
      uses.accounting ||= each.key === "bytes" || each.key === "packets";
    } else if (each.op === "fib" || each.op === "rt mtu") uses.fib = true;
    else if (each.op === "map") each.key.forEach(value);
    else if ("left" in each) {
      value(each.left);
      value(each.right);
    }
  };
  for (const { rules } of chains) {
    for (const { ops } of rules) for (const op of ops) visit(op, value, uses);
  }
  const counted = [...cells, ...sets.flatMap((set) => set.cells)];
  uses.tracker ||= uses.nat || counted.some(({ kind }) => kind === "ct count");
  return uses;
}

function visit(
  op: Op,
  value: (each: Value) => void,
  uses: { tracker: boolean; queue: boolean; names: boolean; writes: boolean },
): void {
  if ("parts" in op) op.parts.forEach(value);
  if ("value" in op) value(op.value);
  if (op.op === "set ct" || op.op === "set zone") uses.tracker = true;
  if (op.op === "names") uses.tracker = uses.names = true;
  if (op.op === "set payload" || op.op === "set option") uses.writes = true;
  if (op.op === "queue") uses.queue = true;
  if (op.op === "nat") {
    [...op.nat.address ?? [], ...op.nat.port ?? [], ...op.nat.map?.key ?? []].forEach(value);
  }
  if (op.op !== "update") return;
  if (op.data !== undefined && !("kind" in op.data)) op.data.forEach(value);
  if (op.cells.some(({ kind }) => kind === "ct count")) uses.tracker = true;
}

/** The kinds of `LinkedNat` as trackers name them. */
export const NAT_KIND = {
  snat: NatKind.snat,
  dnat: NatKind.dnat,
  masquerade: NatKind.masquerade,
  redirect: NatKind.redirect,
} as const;
