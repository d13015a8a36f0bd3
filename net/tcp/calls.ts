import { tcpKeepReads, tcpLog, tcpMakeDurable, tcpRemember } from "./durable.ts";
import { freezeTcb } from "./freeze.ts";
import { tcpSetOptions } from "./options.ts";
import {
  tcpAbort,
  tcpClose,
  tcpConnect,
  tcpOffer,
  tcpReceive,
  tcpSend,
  tcpSendAll,
  tcpSendRecord,
  tcpSendUrgent,
  tcpSetCongestionControl,
  tcpSetKeepAlive,
  tcpSetListener,
  tcpSetNoDelay,
  tcpSetProtocol,
  tcpSetReceiveBuffer,
  tcpSetSendBuffer,
  tcpShutdown,
  tcpTakeOffered,
  tcpWantDrained,
} from "./user.ts";

/**
 * Everything that the layers above ask of a connection, in one table. They go through `Stack.calls`, so that
 * somebody who puts other functions there hears of every call: a recorder does (checkpoint/replay/recorder.ts).
 * What only reads (`tcpInfo`, `tcpGetOptions`) is not here.
 */
export const tcpCalls = {
  connect: tcpConnect,
  send: tcpSend,
  sendUrgent: tcpSendUrgent,
  sendAll: tcpSendAll,
  sendRecord: tcpSendRecord,
  receive: tcpReceive,
  offer: tcpOffer,
  takeOffered: tcpTakeOffered,
  shutdown: tcpShutdown,
  close: tcpClose,
  abort: tcpAbort,
  setNoDelay: tcpSetNoDelay,
  setKeepAlive: tcpSetKeepAlive,
  setCongestionControl: tcpSetCongestionControl,
  setReceiveBuffer: tcpSetReceiveBuffer,
  setSendBuffer: tcpSetSendBuffer,
  setOptions: tcpSetOptions,
  setListener: tcpSetListener,
  setProtocol: tcpSetProtocol,
  wantDrained: tcpWantDrained,
  freeze: freezeTcb,
  makeDurable: tcpMakeDurable,
  keepReads: tcpKeepReads,
  remember: tcpRemember,
  log: tcpLog,
};
export type TcpCalls = typeof tcpCalls;
