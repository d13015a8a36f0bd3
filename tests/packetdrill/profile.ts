import type { TcpConfig } from "../../net/tcp/config.ts";

/** The constants that scripts for Linux were written against: those of its test set-up, where they are not ours. */
export const LINUX_PROFILE: Readonly<Partial<TcpConfig>> = {
  receiveBufferBytes: 540_000,
  receiveBufferMax: 15 << 20,
  receiveWindowScale: 8,
  sendBufferBytes: 256 << 10,
  sendBufferMax: 4 << 20,
  ecn: 0,
  slowStartAfterIdle: false,
  synRetransmitsMax: 5,
  synAckRetransmitsMax: 5,
};
