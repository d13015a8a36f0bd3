/**
 * Network address translation: what a flow's addresses and ports become, and the rewriting of its packets.
 *
 * @module
 */
export { NatFlag, NatKind, NatRange } from "./range.ts";
