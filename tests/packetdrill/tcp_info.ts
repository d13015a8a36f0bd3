import { linuxTcpInfo, tcpInfo } from "../../net/tcp/info.ts";
import type { ScriptSocket } from "./sockets.ts";
import type { World } from "./world.ts";

const STATES =
  "ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING";
/** BSD's and others' names of the same states. */
const OTHER_STATES: Readonly<Record<string, number>> = {
  SYN_RECEIVED: 3,
  FIN_WAIT_1: 4,
  FIN_WAIT_2: 5,
  CLOSED: 7,
};
const CONSTANTS: Readonly<Record<string, number>> = {
  TCP_CA_Open: 0,
  TCP_CA_Disorder: 1,
  TCP_CA_CWR: 2,
  TCP_CA_Recovery: 3,
  TCP_CA_Loss: 4,
  TCPI_OPT_TIMESTAMPS: 1,
  TCPI_OPT_SACK: 2,
  TCPI_OPT_WSCALE: 4,
  TCPI_OPT_ECN: 8,
  TCPI_OPT_ECN_SEEN: 16,
  TCPI_OPT_SYN_DATA: 32,
  TCP_INFINITE_SSTHRESH: 0x7fff_ffff,
};
const CLOSED = 7, LISTEN = 10;

/** The names that code in a script may use, with their values at this moment. */
export function tcpInfoNames(world: World, socket: ScriptSocket | undefined): Record<string, number> {
  const names: Record<string, number> = { ...CONSTANTS };
  STATES.split(" ").forEach((name, at) => {
    names[`TCP_${name}`] = names[`TCPI_${name}`] = names[`TCPS_${name}`] = at + 1;
  });
  for (const [name, value] of Object.entries(OTHER_STATES)) {
    names[`TCP_${name}`] = names[`TCPI_${name}`] = value;
  }
  if (socket === undefined) return names;
  if (socket.record < 0) {
    const state = socket.listener === undefined || socket.closed ? CLOSED : LISTEN;
    return { ...names, ...socket.lastInfo, tcpi_state: state };
  }
  const { stack, nowMs } = world;
  const tcb = world.awake(socket.record);
  // What an application has asked for Linux doubles.
  names["SK_MEMINFO_RCVBUF"] = tcb.receiveBufferBytes * (tcb.receiveBufferSet ? 2 : 1);
  return { ...names, ...linuxTcpInfo(tcpInfo(stack.tcp, tcb, nowMs)) };
}
