import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { assert } from "../../base/assert.ts";
import { type Libc, loadLibc } from "../../net/link/tun_ffi.ts";
import { streamBytes } from "./answer.ts";
import { HOST_ADDRESS, type HostState, type HostUnderTest, keyOf, LISTEN_PORT, type Peer } from "./host.ts";
import {
  errnoName,
  IPPROTO_TCP,
  loadSocketCalls,
  MSG_NOSIGNAL,
  SHUT_WR,
  SO,
  SOCK,
  sockaddr,
  type SocketCalls,
  SOL_SOCKET,
  TCP_CONGESTION,
} from "./libc_sockets.ts";
import type { CallStep } from "./plan.ts";

const TUN = "df0";
const O_RDWR = 2, O_NONBLOCK = 0o4000, O_CLOEXEC = 0o2000000;
const TUNSETIFF = 0x400454ca;
const IFF_TUN_NO_PI = 0x1001;
const BACKLOG = 60_000;
const READ_BYTES = 65_600;

/**
 * What makes the kernel answer every segment, at once, whatever others did before: each setting is of this network
 * namespace alone. Buffers are our stack's.
 */
const SYSCTLS: Readonly<Record<string, string>> = {
  "core/somaxconn": `${BACKLOG}`,
  "ipv4/tcp_max_syn_backlog": `${BACKLOG}`,
  "ipv4/tcp_syncookies": "0",
  "ipv4/tcp_challenge_ack_limit": "2147483647",
  "ipv4/tcp_invalid_ratelimit": "0",
  "ipv4/tcp_no_metrics_save": "1",
  "ipv4/tcp_comp_sack_nr": "0",
  "ipv4/tcp_autocorking": "0",
  "ipv4/tcp_rmem": "4096 131072 6291456",
  "ipv4/tcp_wmem": "4096 262144 4194304",
  "ipv4/tcp_max_tw_buckets": "1000000",
  "ipv4/icmp_ratemask": "0",
};

const STATES = [
  "",
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT1",
  "FIN_WAIT2",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "CLOSING",
  "SYN_RECV", // NEW_SYN_RECV
];

/** The kernel of this network namespace, behind a TUN interface; its sockets are this process's. */
export class KernelHost implements HostUnderTest {
  readonly name = "kernel";
  readonly #libc: Libc;
  readonly #calls: SocketCalls;
  readonly #tun: number;
  readonly #listener: number;
  readonly #fds = new Map<number, number>();
  readonly #buffer = new Uint8Array(READ_BYTES);
  readonly #reads = new Uint8Array(READ_BYTES * 4);

  private constructor(libc: Libc) {
    this.#libc = libc;
    this.#calls = loadSocketCalls(libc.library);
    for (const [name, value] of Object.entries(SYSCTLS)) writeFileSync(`/proc/sys/net/${name}`, value);
    this.#tun = openTunDescriptor(libc);
    const ip = (...args: string[]) => execFileSync("ip", args);
    writeFileSync(`/proc/sys/net/ipv6/conf/${TUN}/disable_ipv6`, "1");
    ip("addr", "add", `${HOST_ADDRESS}/8`, "dev", TUN);
    ip("link", "set", TUN, "mtu", "1500", "txqueuelen", "100000", "up");
    this.#listener = this.#listen();
  }

  /** Needs root, and a network namespace of its own: it changes settings. */
  static async open(): Promise<KernelHost> {
    return new KernelHost(await loadLibc());
  }

  #socket(): number {
    const fd = this.#calls.socket(SOCK.inet, SOCK.stream | SOCK.nonblock | SOCK.cloexec, 0);
    assert(fd >= 0, "No socket: too many descriptors?");
    this.#option(fd, SO.oobInline, 1);
    // The default may be one that paces (BBR), and is no network namespace's own affair.
    const cubic = new TextEncoder().encode("cubic");
    assert(this.#calls.setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cubic, cubic.length) === 0, "No CUBIC");
    return fd;
  }

  #option(fd: number, name: number, ...values: number[]): void {
    const value = new Uint8Array(Int32Array.from(values).buffer);
    assert(this.#calls.setsockopt(fd, SOL_SOCKET, name, value, value.length) === 0, "setsockopt fails");
  }

  #listen(): number {
    const fd = this.#socket();
    const calls = this.#calls;
    this.#option(fd, SO.reuseAddress, 1);
    const address = sockaddr(Uint8Array.from(HOST_ADDRESS.split("."), Number), LISTEN_PORT);
    assert(calls.bind(fd, address, address.length) === 0, "bind fails");
    assert(calls.listen(fd, BACKLOG) === 0, "listen fails");
    return fd;
  }

  connect(peer: Peer): string {
    const fd = this.#socket();
    this.#fds.set(keyOf(peer), fd);
    const address = sockaddr(peer.address, peer.port);
    return this.#calls.connect(fd, address, address.length) === 0 ? "0" : errnoName(this.#calls.errno());
  }

  inject(packet: Uint8Array<ArrayBuffer>): void {
    this.#libc.write(this.#tun, packet, packet.length); // what the kernel finds wrong it drops by itself
  }

  call(peer: Peer, step: CallStep): string {
    const key = keyOf(peer);
    const fd = this.#fds.get(key);
    if (fd === undefined) return "no socket";
    const calls = this.#calls;
    const outcome = (result: number) => result >= 0 ? `${result}` : errnoName(calls.errno());
    switch (step.call) {
      case "write":
        return outcome(calls.send(fd, this.#toWrite(key, step.bytes), step.bytes, MSG_NOSIGNAL));
      case "read":
        return outcome(calls.recv(fd, this.#reads, this.#reads.length, 0));
      case "shutdown":
        return outcome(calls.shutdown(fd, SHUT_WR));
      case "abort":
        this.#option(fd, SO.linger, 1, 0);
        break;
      case "close":
        break;
    }
    this.#fds.delete(key);
    return outcome(calls.close(fd));
  }

  readonly #written = new Map<number, number>();

  /** Every byte that a host sends is known by its place in the stream. */
  #toWrite(key: number, bytes: number): Uint8Array {
    const at = this.#written.get(key) ?? 1;
    this.#written.set(key, at + bytes);
    return streamBytes(at, bytes);
  }

  drain(take: (packet: Uint8Array<ArrayBuffer>) => void): void {
    for (;;) {
      const length = this.#libc.read(this.#tun, this.#buffer, READ_BYTES);
      if (length <= 0) return;
      take(this.#buffer.slice(0, length));
    }
  }

  accept(): void {
    const address = new Uint8Array(16);
    const length = Uint8Array.of(16, 0, 0, 0);
    for (;;) {
      const fd = this.#calls.accept4(this.#listener, address, length, SOCK.nonblock | SOCK.cloexec);
      if (fd < 0) return;
      this.#option(fd, SO.oobInline, 1);
      const peer = { address: address.slice(4, 8), port: address[2]! * 256 + address[3]! };
      const key = keyOf(peer);
      const before = this.#fds.get(key);
      if (before !== undefined) this.#calls.close(before); // the connection that this one follows
      this.#written.delete(key);
      this.#fds.set(key, fd);
    }
  }

  states(): Map<number, HostState> {
    const found = new Map<number, HostState>();
    for (const line of readFileSync("/proc/self/net/tcp", "latin1").split("\n")) {
      const colon = line.indexOf(":");
      if (colon < 0 || line.length < 80 || line.charCodeAt(colon + 1) !== 32) continue;
      // "  0: 0100007F:0277 00000000:0000 0A 00000000:00000000 ...": addresses are little-endian words
      const remote = line.slice(colon + 16, colon + 29);
      const state = STATES[parseInt(line.slice(colon + 30, colon + 32), 16)]!;
      const unacked = parseInt(line.slice(colon + 33, colon + 41), 16);
      const key = lowAddress(remote) * 65_536 + parseInt(remote.slice(9), 16);
      const unread = this.#fds.has(key) ? parseInt(line.slice(colon + 42, colon + 50), 16) : -1;
      found.set(key, { state, unread, unacked });
    }
    return found;
  }

  forget(peer: Peer): void {
    const key = keyOf(peer);
    this.#written.delete(key);
    const fd = this.#fds.get(key);
    if (fd === undefined) return;
    this.#fds.delete(key);
    this.#option(fd, SO.linger, 1, 0);
    this.#calls.close(fd);
  }

  close(): void {
    for (const fd of this.#fds.values()) this.#calls.close(fd);
    this.#calls.close(this.#listener);
    this.#libc.close(this.#tun);
  }
}

/** The last three bytes of `0280800A`, which is 10.128.128.2. */
function lowAddress(text: string): number {
  return parseInt(text.slice(4, 6) + text.slice(2, 4) + text.slice(0, 2), 16);
}

function openTunDescriptor(libc: Libc): number {
  const fd = libc.open(new TextEncoder().encode("/dev/net/tun\0"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  assert(fd >= 0, "Cannot open /dev/net/tun");
  const request = new Uint8Array(40); // struct ifreq
  request.set(new TextEncoder().encode(TUN));
  new DataView(request.buffer).setUint16(16, IFF_TUN_NO_PI, true);
  assert(libc.ioctl(fd, TUNSETIFF, request) >= 0, "Cannot attach to a TUN interface");
  return fd;
}
