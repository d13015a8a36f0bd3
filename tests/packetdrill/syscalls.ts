import {
  canWrite,
  tcpAbort,
  tcpClose,
  tcpConnect,
  tcpReceive,
  tcpSend,
  tcpSendRecord,
  tcpSendUrgent,
  tcpShutdown,
} from "../../net/tcp/user.ts";
import { FastOpenMode } from "../../net/tcp/fast_open.ts";
import { flightSize, type Tcb, TcpState } from "../../net/tcp/tcb.ts";
import { numberOf } from "./constants.ts";
import { compareMessage, inqControl, pieces, readHeader, takeErrorMessage } from "./messages.ts";
import { type Expression, type IpVersion, Unsupported } from "./script.ts";
import { ScriptSocket, type Sockets } from "./sockets.ts";
import { pipe, splice } from "./pipes.ts";
import { epollControl, epollCreate, epollWait, poll } from "./poll.ts";
import { getOption, setOption } from "./socket_options.ts";
import { LinuxWrite } from "./send_buffer.ts";
import type { World } from "./world.ts";

/** How a call ends: its value, or -1 with an error's name. */
export interface Returned {
  readonly value: number;
  readonly errno?: string;
  /** What the call wrote where the script has its expectation differs from it. */
  readonly mismatch?: string;
}

/** A call that waits. `retry` is called after every turn until it gives a result. */
export interface Blocked {
  readonly retry: () => Returned | undefined;
}

/** What a call works on. */
export interface Call {
  readonly world: World;
  readonly sockets: Sockets;
  readonly args: readonly Expression[];
  readonly ip: IpVersion;
  /** How much times may differ. */
  readonly toleranceUs: number;
  /** The number that the script gives to what the call opens. */
  readonly newFd: number;
  /** A connection is about to be opened from this port to that one. */
  readonly connecting: (localPort: number, remotePort: number) => void;
  readonly listening: () => void;
}

export type Handler = (call: Call) => Returned | Blocked;

/** Ports of the local and of the remote service, as packetdrill has them. */
export const SERVICE_PORT = 8080;

function failed(errno: string): Returned {
  return { value: -1, errno };
}

const OK: Returned = { value: 0 };
const NOTHING = new Uint8Array(0);
const OOB = 1, PEEK = 2, DONTWAIT = 0x40, EOR = 0x80, ERRQUEUE = 0x2000, NOSIGNAL = 0x4000, MORE = 0x8000;
const ZEROCOPY = 0x400_0000, FASTOPEN = 0x2000_0000;
/** Each piece of a zero-copy write is a fragment of its own; a packet of Linux that has so many is full. */
const PACKET_FRAGMENTS_MAX = 17;

/** A number among the arguments; `...` is `fallback`. */
function number(call: Call, at: number, fallback?: number): number {
  const expression = call.args[at];
  if (expression === undefined || expression.kind === "any") {
    if (fallback !== undefined) return fallback;
    throw new Unsupported(`argument ${at + 1} is not given`);
  }
  return numberOf(expression);
}

function socketOf(call: Call): ScriptSocket | undefined {
  return call.sockets.byFd.get(number(call, 0));
}

/** Does `act` now, or as often as it takes when the socket waits. */
function maybeBlock(
  socket: ScriptSocket,
  flags: number,
  act: () => Returned | undefined,
): Returned | Blocked {
  const now = act();
  if (now !== undefined) return now;
  return socket.nonBlocking || (flags & DONTWAIT) !== 0 ? failed("EAGAIN") : { retry: act };
}

function takeError(socket: ScriptSocket): Returned | undefined {
  const { error } = socket;
  socket.error = undefined;
  return error === undefined ? undefined : failed(error);
}

function open(call: Call): Returned {
  const [domain, type, protocol] = [number(call, 0, 2), number(call, 1, 1), number(call, 2, 0)];
  if ((type & 0xf) !== 1 || (protocol !== 6 && protocol !== 0)) {
    throw new Unsupported("socket other than TCP");
  }
  if (domain !== 2 && domain !== 10) throw new Unsupported(`address family ${domain}`);
  const socket = new ScriptSocket();
  socket.nonBlocking = (type & 0o4000) !== 0;
  call.sockets.byFd.set(call.newFd, socket);
  call.sockets.newest ??= socket;
  return { value: call.newFd };
}

function bind(call: Call): Returned {
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  socket.boundPort = SERVICE_PORT;
  return OK;
}

function listen(call: Call): Returned {
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  if (socket.used) return failed("EINVAL");
  if (socket.listener === undefined) {
    const backlog = Math.max(0, number(call, 1, 128));
    const listener = call.world.stack.tcp.listeners.add(
      call.world.any,
      socket.boundPort || SERVICE_PORT,
      backlog,
    );
    if (listener === undefined) return failed("EADDRINUSE");
    call.sockets.listen(socket, listener);
  }
  call.listening();
  return OK;
}

function accept(call: Call): Returned | Blocked {
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  if (socket.listener === undefined) return failed("EINVAL");
  const nonBlocking = (number(call, 3, 0) & 0o4000) !== 0;
  return maybeBlock(socket, 0, () => {
    const child = socket.queue.shift();
    if (child === undefined) return undefined;
    socket.listener!.waiting--;
    child.nonBlocking = nonBlocking;
    call.sockets.byFd.set(call.newFd, child);
    call.sockets.newest = child;
    return { value: call.newFd };
  });
}

function connect(call: Call): Returned | Blocked {
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  if (isUnspecified(call, 1)) return disconnect(call, socket);
  if (socket.deferred) return failed("EISCONN");
  if (socket.used) return connectOutcome(socket);
  const { world } = call;
  if (socket.fastOpenConnect && world.stack.tcp.fastOpen.prepareSyn(world.local, world.remote, world.nowMs)) {
    socket.deferred = true; // the first data will travel in the SYN
    return OK;
  }
  const tcb = startConnect(call, socket, socket.fastOpenConnect ? NOTHING : undefined);
  if (tcb === undefined) return failed("EADDRNOTAVAIL");
  socket.connecting = true;
  return socket.nonBlocking ? failed("EINPROGRESS") : { retry: () => connected(socket) };
}

/** connect() again tells how the first one went, once: a socket whose connection failed is as new then. */
function connectOutcome(socket: ScriptSocket): Returned {
  if (!socket.connecting) return failed(socket.established ? "EISCONN" : "EALREADY");
  return connected(socket) ?? failed("EALREADY");
}

/** An address is AF_UNSPEC: nowhere. */
function isUnspecified(call: Call, at: number): boolean {
  const address = call.args[at];
  return address?.kind === "word" && address.name === "AF_UNSPEC";
}

function connected(socket: ScriptSocket): Returned | undefined {
  if (!socket.established && !socket.ended) return undefined;
  socket.connecting = false;
  if (!socket.ended) return OK;
  const error = takeError(socket) ?? failed("ECONNABORTED");
  socket.used = socket.established = socket.ended = false;
  return error;
}

/** connect() to nowhere: the socket is as new. */
function disconnect(call: Call, socket: ScriptSocket): Returned {
  const { world } = call;
  if (socket.record >= 0) tcpAbort(world.stack.tcp, world.awake(socket.record), world.nowMs);
  world.turn();
  socket.used = socket.established = socket.ended = false;
  socket.error = undefined;
  return OK;
}

/** @returns `undefined` when no port is free. */
function startConnect(call: Call, socket: ScriptSocket, fastOpen?: Uint8Array): Tcb | undefined {
  const { world, sockets } = call;
  const [first, last] = socket.boundPort !== 0 ? [socket.boundPort, socket.boundPort] : socket.portRange;
  for (let port = first; port <= last; port++) {
    const record = world.stack.connections.find(world.local, world.remote, port, SERVICE_PORT);
    if (record >= 0) world.awake(record); // in TIME-WAIT, its ports may be free
    const tcb = tcpConnect(
      world.stack.tcp,
      world.local,
      port,
      world.remote,
      SERVICE_PORT,
      world.nowMs,
      socket.options,
      fastOpen,
      socket.boundPort !== 0,
    );
    if (tcb === undefined) continue;
    call.connecting(port, SERVICE_PORT);
    sockets.own(socket, tcb);
    return tcb;
  }
  return undefined;
}

/** The buffer is no address. */
function isNull(call: Call, count: number): boolean {
  const buffer = call.args[1];
  return count > 0 && buffer?.kind === "word" && buffer.name === "NULL";
}

/** Sends `count` bytes, all of them zero. Packets are full at `borders`: nothing is put behind those. */
function sendBytes(
  call: Call,
  socket: ScriptSocket | undefined,
  count: number,
  flags: number,
  borders: readonly number[] = [],
): Returned | Blocked {
  if (socket === undefined) return failed("EBADF");
  if ((flags & ~(DONTWAIT | NOSIGNAL | FASTOPEN | OOB | MORE | EOR | ZEROCOPY)) !== 0) {
    throw new Unsupported(`flags 0x${flags.toString(16)} of send()`);
  }
  if (isNull(call, count)) return failed("EFAULT");
  const { world } = call;
  let sent = 0, carried = 0;
  if (!socket.used && ((flags & FASTOPEN) !== 0 || socket.deferred)) {
    const off = (world.stack.tcp.config.fastOpen & FastOpenMode.client) === 0;
    if (off || isUnspecified(call, 4)) return failed("EOPNOTSUPP");
    socket.deferred = false;
    if (startConnect(call, socket, new Uint8Array(count)) === undefined) return failed("EADDRNOTAVAIL");
    carried = world.awake(socket.record).sendQueue.length;
    if (socket.nonBlocking || (flags & DONTWAIT) !== 0) {
      if (carried > 0) socket.errors.wrote(world.awake(socket.record), (flags & ZEROCOPY) !== 0);
      return carried > 0 ? { value: carried } : failed("EINPROGRESS");
    }
    if (carried < count) world.awake(socket.record).wantsWritable = true;
  } else if ((flags & FASTOPEN) !== 0 && socket.used && !socket.established && !socket.ended) {
    return failed("EALREADY");
  }
  const more = (flags & MORE) !== 0;
  const { sendBuffer } = socket;
  const write = new LinuxWrite(sendBuffer);
  let limited: boolean | undefined;
  let waited = false;
  const attempt = (): Returned | undefined => {
    const error = takeError(socket);
    if (error !== undefined) return sent > 0 && socket.established ? { value: sent } : error;
    if (!socket.used || socket.ended || socket.shutWrite) return sent > 0 ? { value: sent } : failed("EPIPE");
    const tcb = world.awake(socket.record);
    if (!socket.established) return undefined;
    sent += carried; // what the SYN carried counts once there is a connection
    carried = 0;
    if (sent === count) return { value: sent };
    if (!canWrite(tcb)) return failed("EPIPE");
    limited ??= !sendBuffer.fits(tcb, count);
    if (waited) {
      if (!sendBuffer.hasSpace(tcb)) return undefined;
      waited = false;
      write.resume();
    }
    const border = borders.find((each) => each > sent) ?? Infinity;
    const left = Math.min(count, border) - sent;
    const bytes = new Uint8Array(limited ? write.next(tcb, left) : left);
    const { sendBufferBytes, notSentLowWaterBytes } = tcb;
    if (limited) { // `write` keeps to them
      tcb.sendBufferBytes = Infinity;
      tcb.notSentLowWaterBytes = 0;
    }
    const taken = (flags & OOB) !== 0
      ? tcpSendUrgent(world.stack.tcp, tcb, bytes, 0, bytes.length)
      : (flags & EOR) !== 0 || sent + bytes.length === border
      ? tcpSendRecord(world.stack.tcp, tcb, bytes, 0, bytes.length)
      : tcpSend(world.stack.tcp, tcb, bytes, 0, bytes.length, more || (limited && write.more));
    tcb.sendBufferBytes = sendBufferBytes;
    tcb.notSentLowWaterBytes = notSentLowWaterBytes;
    sent += taken;
    if (taken > 0 && sent < count) {
      world.turn(); // what leaves during the call makes room for more
      return attempt();
    }
    if (limited && sent < count) {
      if (!more) tcb.more = false; // the call is over, or waits: nothing follows soon
      tcb.wantsWritable = waited = sendBuffer.short = true;
    }
    if (sent < count && !(sent > 0 && socket.nonBlocking)) return undefined;
    if (sent > 0) socket.errors.wrote(tcb, (flags & ZEROCOPY) !== 0);
    return { value: sent };
  };
  return maybeBlock(socket, flags, attempt);
}

function receiveBytes(
  call: Call,
  socket: ScriptSocket | undefined,
  count: number,
  flags: number,
): Returned | Blocked {
  if (socket === undefined) return failed("EBADF");
  if ((flags & ~(PEEK | DONTWAIT)) !== 0) throw new Unsupported(`flags 0x${flags.toString(16)} of recv()`);
  if (isNull(call, count)) return failed("EFAULT");
  const { world } = call;
  const peek = (flags & PEEK) !== 0;
  return maybeBlock(socket, flags, () => {
    if (socket.deferred) return undefined;
    if (!socket.used) return takeError(socket) ?? (socket.shutRead ? OK : failed("ENOTCONN"));
    if (socket.ended) {
      const value = Math.min(count, socket.leftover);
      if (value > 0) {
        if (!peek) socket.leftover -= value;
        return { value };
      }
      return socket.finished ? OK : takeError(socket) ?? OK; // the end came first
    }
    const tcb = world.awake(socket.record);
    if (!socket.established) return undefined;
    const unread = Math.min(count, tcb.receiveQueue.length);
    if (unread > 0) {
      return { value: peek ? unread : tcpReceive(world.stack.tcp, tcb, new Uint8Array(unread), 0, unread) };
    }
    return tcb.finReceived || socket.shutRead || count === 0 ? OK : undefined;
  });
}

function bytesInPieces(list: Expression | undefined): number {
  return pieces(list).reduce((sum, piece) => sum + piece, 0);
}

function sendMessage(call: Call): Returned | Blocked {
  const header = readHeader(call.args[1]);
  if (header.has("msg_control")) throw new Unsupported("control messages of sendmsg()");
  const flags = number(call, 2, 0);
  const list = header.get("msg_iov");
  const socket = socketOf(call);
  const borders: number[] = [];
  if ((flags & ZEROCOPY) !== 0 && socket?.errors.zeroCopy === true) {
    let end = 0;
    for (const [at, length] of pieces(list).filter((each) => each > 0).entries()) {
      end += length;
      if ((at + 1) % PACKET_FRAGMENTS_MAX === 0) borders.push(end);
    }
  }
  return sendBytes(call, socket, bytesInPieces(list), flags, borders);
}

function receiveMessage(call: Call): Returned | Blocked {
  const header = readHeader(call.args[1]);
  const socket = socketOf(call);
  const flags = number(call, 2, 0);
  const count = bytesInPieces(header.get("msg_iov"));
  if (socket !== undefined && (flags & ERRQUEUE) !== 0) {
    if (count > 0) throw new Unsupported("the packet of an error queue's entry");
    const message = takeErrorMessage(socket.errors, call.ip);
    if (message === undefined) return failed("EAGAIN"); // it never waits
    const mismatch = compareMessage(header, message.flags, message.controls, call.toleranceUs);
    return mismatch === undefined ? OK : { value: 0, mismatch };
  }
  const outcome = receiveBytes(call, socket, count, flags);
  const checked = (result: Returned): Returned => {
    if (socket === undefined || result.value < 0 || result.mismatch !== undefined) return result;
    const tcb = socket.record < 0 ? undefined : call.world.awake(socket.record);
    const left = tcb === undefined ? socket.leftover : tcb.receiveQueue.length + (tcb.finReceived ? 1 : 0);
    const mismatch = compareMessage(header, 0, socket.inq ? [inqControl(left)] : [], call.toleranceUs);
    return mismatch === undefined ? result : { ...result, mismatch };
  };
  if (!("retry" in outcome)) return checked(outcome);
  return {
    retry: () => {
      const result = outcome.retry();
      return result === undefined ? undefined : checked(result);
    },
  };
}

/** open(): only files that a command of the script has written are there. */
function openFile(call: Call): Returned {
  const path = call.args[0];
  if (path?.kind !== "string" || number(call, 1) !== 0) throw new Unsupported("open() but for reading");
  if (!call.world.files.has(path.value)) return failed("ENOENT");
  call.sockets.files.set(call.newFd, { path: path.value, at: 0 });
  return { value: call.newFd };
}

/** sendfile() from a file of zeros. */
function sendFile(call: Call): Returned | Blocked {
  const file = call.sockets.files.get(number(call, 1));
  if (file === undefined) return failed("EBADF");
  const offset = call.args[2];
  const given = offset?.kind === "list" ? numberOf(offset.items[0]!) : undefined;
  const left = Math.max(0, call.world.files.get(file.path)! - (given ?? file.at));
  const count = Math.min(left, number(call, 3));
  if (given === undefined) file.at += count;
  return sendBytes(call, socketOf(call), count, 0);
}

function close(call: Call): Returned {
  if (call.sockets.epolls.delete(number(call, 0)) || call.sockets.files.delete(number(call, 0))) return OK;
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  call.sockets.byFd.delete(number(call, 0));
  socket.closed = true;
  const { world } = call;
  stopListening(call, socket);
  if (socket.record >= 0) tcpClose(world.stack.tcp, world.awake(socket.record), world.nowMs);
  return OK;
}

/** Who has not been accepted yet gets RST. */
function stopListening({ world }: Call, socket: ScriptSocket): void {
  const { tcp } = world.stack;
  if (socket.listener === undefined) return;
  tcp.listeners.remove(socket.listener);
  for (const child of socket.queue.splice(0)) {
    child.closed = true;
    if (child.record >= 0) tcpAbort(tcp, world.awake(child.record), world.nowMs);
  }
}

/** As on Linux, a socket without a connection is marked although the call fails, and one that only begins loses it. */
function shutdown(call: Call): Returned {
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  const how = number(call, 1);
  const reads = how !== 1, writes = how !== 0;
  if (socket.listener !== undefined) {
    if (!reads) return OK;
    stopListening(call, socket);
    socket.listener = undefined;
    return OK;
  }
  if (socket.used && !socket.established && !socket.ended) {
    disconnect(call, socket);
    socket.error = "ECONNRESET";
    return OK;
  }
  socket.shutRead ||= reads;
  socket.shutWrite ||= writes;
  if (socket.record < 0) return failed("ENOTCONN");
  if (writes) tcpShutdown(call.world.stack.tcp, call.world.awake(socket.record));
  return OK;
}

function fcntl(call: Call): Returned {
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  const command = number(call, 1);
  if (command === 3) return { value: 2 | (socket.nonBlocking ? 0o4000 : 0) };
  if (command !== 4) throw new Unsupported(`fcntl command ${command}`);
  socket.nonBlocking = (number(call, 2) & 0o4000) !== 0;
  return OK;
}

function ioctl(call: Call): Returned {
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  const request = number(call, 1);
  const tcb = socket.record < 0 ? undefined : call.world.awake(socket.record);
  let value: number;
  if (request === 0x541b) { // SIOCINQ
    value = tcb === undefined ? socket.leftover : tcb.receiveQueue.length;
  } else if (request === 0x5411) { // SIOCOUTQ
    value = tcb === undefined ? socket.unacknowledged : unacknowledged(tcb);
  } else if (request === 0x894b) { // SIOCOUTQNSD
    value = tcb === undefined ? 0 : unacknowledged(tcb) - flightSize(tcb);
  } else {
    throw new Unsupported(`ioctl request 0x${request.toString(16)}`);
  }
  return expectValue(call.args[2], value, "ioctl");
}

/** What was written and not acknowledged, the FIN with it, as Linux counts. */
function unacknowledged(tcb: Tcb): number {
  const fin = tcb.finQueued && tcb.state !== TcpState.finWait2 && tcb.state !== TcpState.timeWait;
  return tcb.sendQueue.length + (fin ? 1 : 0);
}

/** Compares a result with the `[value]` in the script. */
function expectValue(place: Expression | undefined, value: number, name: string): Returned {
  if (place === undefined || place.kind === "any") return OK;
  const expected = place.kind === "list" ? place.items[0]! : place;
  if (expected.kind === "any" || numberOf(expected) === value) return OK;
  return { value: 0, mismatch: `Bad ${name} value: expected: ${numberOf(expected)} actual: ${value}` };
}

function setsockopt(call: Call): Returned {
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  const name = call.args[2];
  if (name?.kind !== "word") throw new Unsupported("setsockopt() without a name");
  const errno = setOption(call.world, socket, name.name, call.args[3]!);
  call.sockets.applyFastOpen(socket);
  return errno === undefined ? OK : failed(errno);
}

function getsockopt(call: Call): Returned {
  const socket = socketOf(call);
  if (socket === undefined) return failed("EBADF");
  const name = call.args[2];
  if (name?.kind !== "word") throw new Unsupported("getsockopt() without a name");
  return expectValue(call.args[3], getOption(call.world, socket, name.name), name.name);
}

/** Every call that is known, by its name. */
export const SYSCALLS: Readonly<Record<string, Handler>> = {
  socket: open,
  bind,
  listen,
  accept,
  accept4: accept,
  connect,
  close,
  shutdown,
  fcntl,
  ioctl,
  setsockopt,
  getsockopt,
  poll,
  epoll_create: epollCreate,
  epoll_create1: epollCreate,
  epoll_ctl: epollControl,
  epoll_wait: epollWait,
  write: (call) => sendBytes(call, socketOf(call), number(call, 2), 0),
  send: (call) => sendBytes(call, socketOf(call), number(call, 2), number(call, 3, 0)),
  sendto: (call) => sendBytes(call, socketOf(call), number(call, 2), number(call, 3, 0)),
  writev: (call) => sendBytes(call, socketOf(call), bytesInPieces(call.args[1]), 0),
  sendmsg: sendMessage,
  open: openFile,
  pipe,
  splice,
  sendfile: sendFile,
  read: (call) => receiveBytes(call, socketOf(call), number(call, 2), 0),
  recv: (call) => receiveBytes(call, socketOf(call), number(call, 2), number(call, 3, 0)),
  recvfrom: (call) => receiveBytes(call, socketOf(call), number(call, 2), number(call, 3, 0)),
  readv: (call) => receiveBytes(call, socketOf(call), bytesInPieces(call.args[1]), 0),
  recvmsg: receiveMessage,
};
