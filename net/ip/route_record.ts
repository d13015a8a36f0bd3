/** `RouteRecord.interfaceIndex` of a destination inside the stack. */
export const INTERFACE_LOCAL: number = -1;

/** `interfaceIndex` of a network that no interface leads to. */
export const UNREACHABLE: number = -2;

/** What an address is to us. */
export const AddressKind = {
  /** Somebody else's. */
  Other: 0,
  Ours: 1,
  /** 255.255.255.255, or the last address of a network that we are in. */
  Broadcast: 2,
  Multicast: 3,
  /** Never on the wire as a host: 0.0.0.0/8, 127.0.0.0/8, 240.0.0.0/4 (RFC 1122 section 3.2.1.3). */
  Martian: 4,
} as const;
export type AddressKind = (typeof AddressKind)[keyof typeof AddressKind];

/** How to reach a destination. Make one and let `route` fill it. */
export interface RouteRecord {
  /** `INTERFACE_LOCAL` for one of our own addresses. */
  interfaceIndex: number;
  /** The address to resolve on that interface: the gateway's or the destination's. */
  nextHop: number;
  /** The address to speak from, 0 when the interface has none, or IPv6 is to choose one. */
  source: number;
}
