import type { IpVersion } from "./script.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { FastOpenMode } from "../../net/tcp/fast_open.ts";

/** The constants that scripts for Linux were written against: those of its test set-up, where they are not ours. */
export const LINUX_PROFILE: Readonly<Partial<TcpConfig>> = {
  receiveBufferBytes: 540_000,
  receiveBufferMax: 15 << 20,
  receiveWindowScale: 8,
  sendBufferBytes: 256 << 10,
  sendBufferMax: 4 << 20,
  ecn: 0,
  hystart: "linux",
  initialWindowCapped: false,
  mtuBaseForAll: false,
  slowStartAfterIdle: false,
  synRetransmitsMax: 5,
  synAckRetransmitsMax: 5,
  tolerateMissingTimestamps: true,
  icmpEndsHandshake: true,
  tooBigWaits: false,
  fastOpen: 3,
  fastOpenKey: "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4",
};

/** What google's set-up has otherwise than that of Linux's own tree: Fast Open on every listener. */
export const GOOGLE_DEFAULTS: Readonly<Partial<TcpConfig>> = {
  fastOpen: FastOpenMode.client | FastOpenMode.server | FastOpenMode.allListeners,
};

/** Words that the test set-up defines: Fast Open cookies of the keys that scripts use, for the addresses that they have. */
export function profileDefines(version: IpVersion): [name: string, value: string][] {
  const ipv6 = version === "ipv6";
  return [
    ["TFO_COOKIE", ipv6 ? "c1d1e9742a47a9bc" : "3021b9d889017eeb"],
    ["TFO_COOKIE_ZERO", ipv6 ? "82af1a8f9a205c34" : "b7c12350a90dc8f5"],
    ["CMSG_LEVEL_IP", version === "ipv4" ? "SOL_IP" : "SOL_IPV6"],
    ["CMSG_TYPE_RECVERR", version === "ipv4" ? "IP_RECVERR" : "IPV6_RECVERR"],
  ];
}
