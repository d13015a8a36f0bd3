/** The kernel's `ip_tos2prio`, by the four bits of a type of service that once meant something (RFC 1349). */
const PRIORITIES = Uint8Array.of(0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4);

/** What `meta priority` is of an IPv4 packet that is passed on, whatever it was before: as ip_forward() has it. */
export function forwardPriority(typeOfService: number): number {
  return PRIORITIES[(typeOfService & 0x1e) >> 1]!;
}
