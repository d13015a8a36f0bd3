/** How a NAT statement chooses: `NF_NAT_RANGE_*` of linux/netfilter/nf_nat.h. */
export const NatFlag = {
  /** Ports are drawn, not kept where they are free. Both mean the same, as in the kernel since 5.0. */
  random: 1,
  fullyRandom: 2,
  /** A client gets the same address for all its flows, whatever their destinations. */
  persistent: 4,
  /** A prefix is mapped to a prefix, each address to the one at the same place (`snat prefix to`). */
  netmap: 8,
} as const;

/** What rules ask for; `none`, where no rule spoke. */
export const NatKind = { none: 0, snat: 1, dnat: 2, masquerade: 3, redirect: 4 } as const;
export type NatKind = (typeof NatKind)[keyof typeof NatKind];

/** What a NAT statement asks for, as whoever evaluates it fills one. */
export class NatRequest {
  kind: NatKind = NatKind.none;
  /** Words of the lowest address, and from the fifth on of the highest: one each of IPv4, four of IPv6. */
  readonly address: Int32Array = new Int32Array(8);
  hasAddress = false;
  /** Of ICMP queries, the identifier. */
  hasPort = false;
  portLow = 0;
  portHigh = 0;
  /** Of `NatFlag`. */
  flags = 0;
}

/** What a flow's address and port may become: `struct nf_nat_range2`. */
export class NatRange {
  /** IPv4 addresses as integers, or IPv6 ones as handles. */
  hasAddress = false;
  addressLow = 0;
  addressHigh = 0;
  hasPort = false;
  portLow = 0;
  portHigh = 0;
  random = false;
  persistent = false;

  /** Exactly this address, and any port. */
  setAddress(address: number): void {
    this.hasAddress = true;
    this.addressLow = this.addressHigh = address;
    this.hasPort = this.random = this.persistent = false;
  }
}
