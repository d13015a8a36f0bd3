import { TcpError } from "../tcp/tcb.ts";
import {
  ConnectionAborted,
  ConnectionRefused,
  ConnectionReset,
  HostUnreachable,
  TimedOut,
} from "./errors.ts";

/** What an application is told about a connection that ended with `error`. */
export function connectionError(error: TcpError, what: string): Error {
  switch (error) {
    case TcpError.refused:
      return new ConnectionRefused(`${what}: connection refused`);
    case TcpError.timedOut:
      return new TimedOut(`${what}: the peer has not answered for too long`);
    case TcpError.unreachable:
      return new HostUnreachable(`${what}: the peer cannot be reached`);
    case TcpError.aborted:
      return new ConnectionAborted(`${what}: aborted`);
    default:
      return new ConnectionReset(`${what}: connection reset by the peer`);
  }
}
