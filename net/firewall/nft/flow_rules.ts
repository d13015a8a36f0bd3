import type { LinkedRule, LinkedSet, Op, Value } from "./linked.ts";
import { keepsState } from "./walk.ts";

/**
 * Whether what a rule asks is the same for all packets of a flow: addresses, ports, protocol, interfaces, state and
 * mark, but not lengths, flags or hops.
 */
export function isOfFlow({ ops }: LinkedRule): boolean {
  return ops.every((op) => !("parts" in op) || op.parts.every(valueIsOfFlow));
}

/** Whether what a rule does can be repeated by counting: it matches, counts and decides, and nothing else. */
export function isRepeatable({ ops }: LinkedRule, isCounter: (cell: number) => boolean): boolean {
  return ops.every((op) => opIsRepeatable(op, isCounter));
}

/** Whether steps only count and decide, whatever the packet is. */
export function isCounting(ops: readonly Op[], isCounter: (cell: number) => boolean): boolean {
  return ops.every((op) =>
    op.op === "verdict" || op.op === "reject" || op.op === "queue" || (op.op === "cell" && isCounter(op.cell))
  );
}

function opIsRepeatable(op: Op, isCounter: (cell: number) => boolean): boolean {
  switch (op.op) {
    case "test":
    case "verdict":
    case "reject":
    case "queue":
      return true;
    case "lookup":
    case "vmap":
      return isStill(op.set);
    case "cell":
      return isCounter(op.cell);
    default:
      return false;
  }
}

function isStill(set: LinkedSet): boolean {
  return !set.changes && !keepsState(set);
}

function valueIsOfFlow(value: Value): boolean {
  switch (value.op) {
    case "const":
      return true;
    case "payload": {
      if (value.base === "th") return value.bit + value.bits <= 32;
      // Of IPv4 protocol and addresses, of IPv6 addresses: which of the two the packet is, other rules have asked.
      const from = value.bit, to = value.bit + value.bits;
      return (from === 72 && to === 80) || (from >= 96 && to <= 160) ||
        (from >= 64 && to <= 320 && value.bits === 128);
    }
    case "meta":
      return !["length", "priority", "random", "time", "hour", "day"].includes(value.key);
    case "ct":
      return value.key === "state" || value.key === "direction";
    case "&":
    case "|":
    case "^":
    case "<<":
    case ">>":
      return valueIsOfFlow(value.left) && valueIsOfFlow(value.right);
    case "map":
      return isStill(value.set) && value.key.every(valueIsOfFlow);
    default:
      return false;
  }
}
