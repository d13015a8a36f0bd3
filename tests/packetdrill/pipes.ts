import { urgentBytes } from "../../net/tcp/urgent.ts";
import { tcpReceive } from "../../net/tcp/user.ts";
import { numberOf } from "./constants.ts";
import { Unsupported } from "./script.ts";
import type { Blocked, Call, Returned } from "./syscalls.ts";

/** pipe() and splice(): what a connection brings goes into a pipe without the program. */

/** What a pipe holds until somebody reads it (Linux: 16 pages). */
const PIPE_BYTES_MAX = 65_536;

/** Both ends of a pipe, by their numbers. */
export interface Pipe {
  length: number;
  readonly readFd: number;
  readonly writeFd: number;
}

export function pipe(call: Call): Returned {
  const ends = call.args[0];
  if (ends?.kind !== "list" || ends.items.length !== 2) throw new Unsupported("pipe() without two numbers");
  const [readFd, writeFd] = ends.items.map(numberOf) as [number, number];
  const made: Pipe = { length: 0, readFd, writeFd };
  call.sockets.pipes.set(readFd, made).set(writeFd, made);
  return { value: 0 };
}

/** From a connection into a pipe. It ends in front of an urgent octet, which is not for a pipe (as on Linux). */
export function splice(call: Call): Returned | Blocked {
  const [fromFd, toFd, limit] = [0, 2, 4].map((at) => numberOf(call.args[at]!)) as [number, number, number];
  const socket = call.sockets.byFd.get(fromFd);
  const to = call.sockets.pipes.get(toFd);
  if (socket === undefined || to?.writeFd !== toFd) {
    throw new Unsupported("splice() but from a socket into a pipe");
  }
  const attempt = (): Returned | undefined => {
    if (!socket.established || socket.ended) {
      throw new Unsupported("splice() from a socket without a connection");
    }
    const { world } = call;
    const tcb = world.awake(socket.record);
    const { length } = tcb.receiveQueue;
    const urgent = urgentBytes(tcb);
    const count = Math.min(limit, urgent > 0 ? urgent - 1 : length, length, PIPE_BYTES_MAX - to.length);
    if (count === 0 && length === 0 && !tcb.finReceived) return undefined;
    if (count > 0) tcpReceive(world.stack.tcp, tcb, new Uint8Array(count), 0, count);
    to.length += count;
    return { value: count };
  };
  const now = attempt();
  if (now !== undefined) return now;
  return socket.nonBlocking ? { value: -1, errno: "EAGAIN" } : { retry: attempt };
}
