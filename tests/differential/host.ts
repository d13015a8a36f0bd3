import type { CallStep, Plan } from "./plan.ts";

export const HOST_ADDRESS = "10.77.0.1";
export const LISTEN_PORT = 7_000;
/** Nobody listens there. */
export const CLOSED_PORT = 9;
const PEER_PORTS = 50_000;
const PEER_PORT_FIRST = 10_000;

/** Whom a plan's peer is: no two of a run are the same. */
export interface Peer {
  readonly address: Uint8Array<ArrayBuffer>;
  readonly port: number;
}

export function peerOf(serial: number): Peer {
  const host = Math.floor(serial / PEER_PORTS);
  return {
    address: Uint8Array.of(10, 128 + (host >>> 8), host & 0xff, 2),
    port: PEER_PORT_FIRST + serial % PEER_PORTS,
  };
}

/** `address:port` of a peer as one number, from a packet that a host sent to it. */
export function peerKey(packet: Uint8Array): number {
  const at = (packet[0]! & 15) * 4;
  const address = ((packet[17]! << 16) | (packet[18]! << 8) | packet[19]!) >>> 0;
  return address * 65_536 + packet[at + 2]! * 256 + packet[at + 3]!;
}

export function keyOf({ address, port }: Peer): number {
  return (((address[1]! << 16) | (address[2]! << 8) | address[3]!) >>> 0) * 65_536 + port;
}

/** A connection as its host sees it. */
export interface HostState {
  /** Linux's names; CLOSE when there is nothing. */
  readonly state: string;
  /** Bytes that nobody has read; written and not acknowledged, with the FIN. -1 where nobody can tell. */
  readonly unread: number;
  readonly unacked: number;
}

export const NO_STATE: HostState = { state: "CLOSE", unread: -1, unacked: -1 };

/** A host under test: segments and calls go in, packets come out, and states can be asked for. */
export interface HostUnderTest {
  readonly name: string;
  /** Begins an active open. */
  connect(peer: Peer, plan: Plan): string;
  inject(packet: Uint8Array<ArrayBuffer>): void;
  call(peer: Peer, step: CallStep): string;
  /** Hands over every packet that has left. */
  drain(take: (packet: Uint8Array<ArrayBuffer>) => void): void;
  /** What has been accepted since is accepted now. */
  accept(): void;
  /** The states of all connections by `keyOf` their peer. */
  states(): Map<number, HostState>;
  /** Forgets a connection; what it says from now on is nobody's business. */
  forget(peer: Peer, hostPort: number): void;
  close(): void;
}
