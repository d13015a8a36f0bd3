/** How a NAT statement chooses: `NF_NAT_RANGE_*` of linux/netfilter/nf_nat.h. */
export const NatFlag = {
  /** Ports are drawn, not counted up. Both mean the same, as in the kernel since 5.0. */
  random: 1,
  fullyRandom: 2,
  /** A client gets the same address for all its flows, whatever their destinations. */
  persistent: 4,
  /** A prefix is mapped to a prefix, each address to the one at the same place (`snat prefix to`). */
  netmap: 8,
} as const;

/** Whether a flow's source is translated, or its destination. */
export const NatKind = { source: 0, destination: 1 } as const;
export type NatKind = (typeof NatKind)[keyof typeof NatKind];

/**
 * What a NAT statement gives a flow: an address from `addressLow` to `addressHigh`, a port from `portLow` to `portHigh`.
 * Plain data; whoever compiles rules makes it once for each statement, or fills one for each packet where a map says it.
 */
export class NatRange {
  /** IPv4 addresses as integers, or IPv6 ones as handles that somebody holds; both 0 for the packet's own address. */
  addressLow = 0;
  addressHigh = 0;
  /** 0 for both: none is asked for. ICMP echo identifiers count as ports. */
  portLow = 0;
  portHigh = 0;
  /** Of `NatFlag`. */
  flags = 0;
}
