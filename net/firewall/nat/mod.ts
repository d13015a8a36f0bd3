/**
 * Network address translation: what a flow's addresses and ports become, and the rewriting of its packets.
 *
 * @module
 */
export type { NatAddresses } from "./nat.ts";
export { NatFlag, NatKind, NatRequest } from "./range.ts";
