/** Where packets meet rules, numbered as the kernel numbers them (`NF_INET_*` of linux/netfilter.h). */
export const Hook = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;
export type Hook = (typeof Hook)[keyof typeof Hook];

/** When, at a hook, what is not a rule has its turn: `enum nf_ip_hook_priorities`. Chains may stand before and behind. */
export const HookPriority = {
  /** Chains before this one (`raw`) may say that a packet is not tracked. */
  conntrack: -200,
  /** At prerouting and output. */
  dstnat: -100,
  /** At input and postrouting. */
  srcnat: 100,
  /** At input and postrouting, behind all chains: what has come so far becomes a flow. */
  confirm: 0x7fff_ffff,
} as const;

/** What tracking says of a packet: the bits of nftables' `ct state`, one of them for every packet. */
export const CtState = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 } as const;
export type CtState = (typeof CtState)[keyof typeof CtState];

/** `ct direction`: the way of the packet that began the flow, or the other one. */
export const CtDirection = { original: 0, reply: 1 } as const;
export type CtDirection = (typeof CtDirection)[keyof typeof CtDirection];

/** `ct status`: `enum ip_conntrack_status`. A flow never has `expected`, as no helper announces any. */
export const CtStatus = {
  expected: 0x1,
  /** Packets have gone both ways. */
  seenReply: 0x2,
  /** Not to be given up when the table is full. */
  assured: 0x4,
  /** In the table: its first packet has left. */
  confirmed: 0x8,
  /** Its source, or its destination, is translated. */
  snat: 0x10,
  dnat: 0x20,
  /** It has been decided what becomes of its source, and of its destination. */
  snatDone: 0x80,
  dnatDone: 0x100,
  dying: 0x200,
} as const;

/** No flow. */
export const NO_FLOW = -1;

/**
 * What tracking knows of the packet at hand: it goes with the packet from hook to hook. Whoever walks packets has
 * one for each that can be under way at a time, and clears it for every packet.
 */
export class PacketTrack {
  /** The packet's flow, or `NO_FLOW` for one that is invalid or untracked. Good until the packet's walk is over. */
  flow: number = NO_FLOW;
  /** `CtState.invalid` until `Tracker.track` has seen it. */
  state: CtState = CtState.invalid;
  direction: CtDirection = CtDirection.original;
  /** `ct zone`, 0 to 65535: flows of different zones do not know each other. Set by rules before tracking. */
  zone = 0;

  clear(): void {
    this.flow = NO_FLOW;
    this.state = CtState.invalid;
    this.direction = CtDirection.original;
    this.zone = 0;
  }

  /** `notrack`, of a packet that has not been tracked yet. */
  untrack(): void {
    if (this.#isUntouched) this.state = CtState.untracked;
  }

  /** `ct zone set`, of a packet that has not been tracked yet: until it is, it looks like the first of a flow. */
  setZone(zone: number): void {
    if (!this.#isUntouched) return;
    this.zone = zone;
    this.state = CtState.new;
  }

  get #isUntouched(): boolean {
    return this.flow === NO_FLOW && this.state === CtState.invalid;
  }
}
