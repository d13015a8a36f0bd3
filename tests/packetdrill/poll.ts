import type { Tcb } from "../../net/tcp/tcb.ts";
import { urgentBytes } from "../../net/tcp/urgent.ts";
import { numberOf } from "./constants.ts";
import { type Expression, Unsupported } from "./script.ts";
import type { Interest, ScriptSocket } from "./sockets.ts";
import type { Blocked, Call, Returned } from "./syscalls.ts";
import type { World } from "./world.ts";

/** The calls that wait for several sockets: poll() and epoll_wait(). */

const READING = 1 | 0x40,
  URGENT = 2,
  WRITING = 4 | 0x100,
  ERROR = 8,
  HANGUP = 0x10,
  INVALID = 0x20,
  READ_HANGUP = 0x2000;
const EXCLUSIVE = 1 << 28, ONE_SHOT = 1 << 30, EDGE_TRIGGERED = 1 << 31;
const Control = { add: 1, delete: 2, modify: 3 } as const;

/** What poll() would say of a socket: POLLIN, POLLOUT, POLLERR, POLLHUP, POLLRDHUP and their like. */
function readiness(world: World, socket: ScriptSocket): number {
  const told = socket.error !== undefined || socket.errors.length > 0 ? ERROR : 0;
  if (socket.listener !== undefined) return socket.queue.length > 0 ? READING : 0;
  if (!socket.used) {
    const shut = socket.shutRead ? READING | READ_HANGUP : 0;
    return socket.deferred ? WRITING : WRITING | HANGUP | told | shut;
  }
  if (socket.ended) {
    return READING | WRITING | HANGUP | READ_HANGUP | told;
  }
  const tcb = world.awake(socket.record);
  if (!socket.established) return told;
  const over = tcb.finReceived || socket.shutRead;
  const input = (tcb.receiveQueue.length > 0 || over ? READING : 0) | (hasUrgentByte(tcb) ? URGENT : 0);
  const hup = over && tcb.finQueued ? HANGUP : 0;
  const output = socket.sendBuffer.hasSpace(tcb) || tcb.finQueued ? WRITING : 0;
  return input | output | hup | told | (over ? READ_HANGUP : 0);
}

/** Whether the last urgent byte has arrived, and was not read. */
function hasUrgentByte(tcb: Tcb): boolean {
  return urgentBytes(tcb) > 0 && ((tcb.rcvUp - tcb.rcvNxt) | 0) <= 0;
}

function fieldsOf(struct: Expression): ReadonlyMap<string, Expression> {
  if (struct.kind !== "struct") throw new Unsupported("events");
  return new Map(struct.items.flatMap((each) => each.kind === "field" ? [[each.name, each.value]] : []));
}

/** Does `attempt` until it has a result, which it has when `untilMs` has come. */
function waitUntil(world: World, untilMs: number, attempt: () => Returned | undefined): Returned | Blocked {
  const now = attempt();
  if (now !== undefined) return now;
  world.wakeAt(untilMs);
  return { retry: attempt };
}

function deadline(call: Call, at: number): number {
  const timeoutMs = numberOf(call.args[at]!);
  return timeoutMs < 0 ? Infinity : call.world.nowMs + timeoutMs;
}

export function poll(call: Call): Returned | Blocked {
  const list = call.args[0];
  if (list?.kind !== "list") throw new Unsupported("poll() without a list");
  const { world, sockets } = call;
  const untilMs = deadline(call, 2);
  return waitUntil(world, untilMs, () => {
    let ready = 0, mismatch: string | undefined;
    for (const item of list.items) {
      const fields = fieldsOf(item);
      const socket = sockets.byFd.get(numberOf(fields.get("fd")!));
      const wanted = numberOf(fields.get("events")!) | ERROR | HANGUP;
      const found = socket === undefined ? INVALID : readiness(world, socket) & wanted;
      if (found !== 0) ready++;
      const expected = fields.has("revents") ? numberOf(fields.get("revents")!) : 0;
      if (found !== expected) mismatch ??= `Expected revents ${expected} but got ${found}`;
    }
    if (ready === 0 && world.nowMs < untilMs) return undefined;
    return mismatch === undefined ? { value: ready } : { value: ready, mismatch };
  });
}

export function epollCreate(call: Call): Returned {
  call.sockets.epolls.set(call.newFd, new Map());
  return { value: call.newFd };
}

export function epollControl(call: Call): Returned {
  const failed = (errno: string): Returned => ({ value: -1, errno });
  const [epollFd, operation, fd] = call.args.slice(0, 3).map(numberOf) as [number, number, number];
  const epoll = call.sockets.epolls.get(epollFd), socket = call.sockets.byFd.get(fd);
  if (epoll === undefined || socket === undefined) return failed("EBADF");
  const known = epoll.get(fd);
  if (operation === Control.delete) return epoll.delete(fd) ? { value: 0 } : failed("ENOENT");
  const fields = fieldsOf(call.args[3]!);
  if (fields.has("fd") && numberOf(fields.get("fd")!) !== fd) {
    throw new Unsupported("epoll data of one's own");
  }
  const events = numberOf(fields.get("events")!);
  if (operation === Control.add) {
    if (known !== undefined) return failed("EEXIST");
    epoll.set(fd, { socket, events, seen: -1 });
  } else {
    if (known === undefined) return failed("ENOENT");
    if (((known.events | events) & EXCLUSIVE) !== 0) return failed("EINVAL");
    known.events = events;
    known.seen = -1;
  }
  return { value: 0 };
}

/** The events of one socket that are told now; with EPOLLET only after something has happened. */
function take(world: World, interest: Interest): number {
  const { socket, events } = interest;
  if (events === 0 || socket.closed) return 0;
  if ((events & EDGE_TRIGGERED) !== 0 && interest.seen === socket.wakeups) return 0;
  const found = readiness(world, socket) & (events | ERROR | HANGUP);
  interest.seen = socket.wakeups;
  if (found !== 0 && (events & ONE_SHOT) !== 0) interest.events = 0;
  return found;
}

export function epollWait(call: Call): Returned | Blocked {
  const epoll = call.sockets.epolls.get(numberOf(call.args[0]!));
  if (epoll === undefined) return { value: -1, errno: "EBADF" };
  const places = call.args[1]!;
  const expected = (places.kind === "list" ? places.items : [places]).map(fieldsOf);
  const most = numberOf(call.args[2]!);
  const untilMs = deadline(call, 3);
  return waitUntil(call.world, untilMs, () => {
    let ready = 0, mismatch: string | undefined;
    for (const [fd, interest] of epoll) {
      if (ready === most) break;
      const found = take(call.world, interest);
      if (found === 0) continue;
      const fields = expected[ready++];
      const [events, wanted] = ["events", "fd"].map((name) => numberOf(fields?.get(name) ?? ZERO));
      if (found !== events || fd !== wanted) {
        mismatch ??= `Expected events ${events} of ${wanted} but got ${found} of ${fd}`;
      }
    }
    if (ready === 0 && call.world.nowMs < untilMs) return undefined;
    return mismatch === undefined ? { value: ready } : { value: ready, mismatch };
  });
}

const ZERO: Expression = { kind: "number", value: 0 };
