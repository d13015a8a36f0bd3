import { NO_FLOW } from "../conntrack/state.ts";
import type { FlowNames } from "../names/flow_names.ts";
import { matchesName } from "../names/pattern.ts";
import type { Op } from "./linked.ts";
import type { NftPacket } from "./packet.ts";

/** Whether the name that a packet's flow has said is one that a rule means. */
export function nameHolds(
  op: Op & { readonly op: "names" },
  names: FlowNames | undefined,
  { track: { flow } }: NftPacket,
): boolean {
  const { key, right } = op;
  const heard = flow === NO_FLOW ? undefined : names?.get(flow);
  if (key === "name") {
    const pending = heard?.kind === "pending";
    return right[0] === "pending" ? pending : !pending && (heard === undefined || heard.name === "");
  }
  if (heard === undefined || heard.name === "" || heard.kind !== (key === "tls sni" ? "tls" : "http")) {
    return false;
  }
  return names!.matches(flow, op.question, right, matchesAny) !== op.negate;
}

function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matchesName(pattern, name));
}
