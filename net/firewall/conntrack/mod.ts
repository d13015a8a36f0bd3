/**
 * Connection tracking: which flow a packet belongs to, and what it is to it, decided as the Linux kernel decides
 * (net/netfilter/nf_conntrack_*.c).
 *
 * @module
 */
export { Conntrack, type ConntrackOptions } from "./conntrack.ts";
export { formatFlow, listFlows } from "./print.ts";
export { CtDirection, CtState, CtStatus, Hook, HookPriority, NO_FLOW, PacketTrack } from "./state.ts";
export type { NatRules, Tracker } from "./tracker.ts";
export { type ConntrackTimeouts, TCP_STATE_NAMES, TcpState, TIMEOUTS } from "./timeouts.ts";
