/**
 * Connection tracking: which flow a packet belongs to, and what it is to it, decided as the Linux kernel decides
 * (net/netfilter/nf_conntrack_*.c).
 *
 * @module
 */
export { CtDirection, CtState, CtStatus, Hook, HookPriority, NO_FLOW, PacketTrack } from "./state.ts";
export type { Tracker } from "./tracker.ts";
