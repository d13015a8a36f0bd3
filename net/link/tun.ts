import process from "node:process";
import { assert } from "../../base/assert.ts";
import { copied, Copies } from "../../base/copies.ts";
import { packetMemory } from "../../base/packet_memory.ts";
import { Slab } from "../../base/slab.ts";
import { copyTail, type Tail } from "../../base/tail.ts";
import { checkMtu, frameBytesMax } from "./frame_limit.ts";
import { LinkError } from "./link_error.ts";
import { type Link, type LinkCounters, linkCounters, type LinkSink, type Medium } from "./link.ts";
import { Errno, type Libc, loadLibc } from "./tun_ffi.ts";
import {
  isDatagramTrain,
  readVnetHeader,
  TUN_OFFLOADS,
  TUN_UDP_OFFLOADS,
  VNET_HEADER_BYTES,
  writeDatagramsHeader,
  writeVnetHeader,
} from "./vnet_header.ts";
import { PROTOCOL_UDP } from "../wire/ipv4.ts";
import { cutTrain, WHOLE_SEGMENT } from "../wire/train.ts";
import { DatagramTrain } from "./datagram_train.ts";
import { type Readiness, type TunWait, watch, waysToWait } from "./tun_wait.ts";

/** Which interface to open. */
export interface OpenTunOptions {
  /** The interface's name, 1 to 15 bytes. It is made when it is not there; `%d` becomes a free number. */
  name: string;
  /** The interface's MTU. Set it with `ip link`; this only tells the stack. */
  mtu?: number;
  /** `tun` carries IP packets, `tap` Ethernet frames. */
  mode?: "tun" | "tap";
  /**
   * A descriptor that is attached to the interface already (IFF_NO_PI, no vnet header), handed over by a
   * process that may do so. The link owns it from here on.
   */
  fd?: number;
  /**
   * Whether packets may cross in trains of up to 64 KB and without checksums, which the kernel cuts and fills in where
   * they leave the machine (IFF_VNET_HDR, TSO, USO). By default they do where the kernel lets us, in mode `tun`; not
   * through a descriptor that was handed over.
   */
  offloads?: boolean;
  /**
   * This link is one of several queues of the interface, each opened by itself, by a thread of its own as a rule: the
   * kernel gives each flow to one of them. An interface that is there already must have been made with `multi_queue`.
   */
  multiQueue?: boolean;
  /** How to learn of packets; by default the best way that this runtime has. */
  wait?: TunWait;
}

/** A link to the kernel through a TUN or TAP interface. */
export interface TunLink extends Link {
  /** The interface's name as the kernel gave it. */
  readonly name: string;
  /** The way that is used to learn of packets. */
  readonly wait: TunWait;
  /** Whether packets cross in trains and without checksums. */
  readonly offloads: boolean;
  /** Whether datagrams of UDP cross in trains, too: from Linux 6.2 on. */
  readonly datagramTrains: boolean;
}

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const F_GETFL = 3;
const F_SETFL = 4;
const TUNSETIFF = 0x400454ca;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETOFFLOAD = 0x400454d0;
const IFF_TUN = 1;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFF_MULTI_QUEUE = 0x100;
/** `struct ifreq`: the name in 16 bytes with its terminator, then the flags. */
const IFREQ = { bytes: 40, flags: 16 } as const;
const NAME_BYTES_MAX = 15;

/** A packet longer than the buffer of a read is cut without a word, so the buffer takes the longest. */
const READ_BYTES = 65_536 + 64;

/** The longest train: what the length field of IPv4 can say. */
const TRAIN_BYTES_MAX = 65_535;

/**
 * Shorter data is copied behind its headers: a call that takes a packet from two places costs as much more as copying so
 * much does (`npm run bench -- copies`).
 */
const WRITEV_BYTES_MIN = 8_192;

/** `struct iovec`: an address and a length, 64 bits each. */
const IOVEC_BYTES = 16;

function setIovec({ view }: Slab, index: number, address: number, length: number): void {
  const at = index * IOVEC_BYTES;
  view.setUint32(at, address % 2 ** 32, true); // no BigInt for each packet
  view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
  view.setUint32(at + 8, length, true);
}

/** Packets read in one turn: enough to spread the cost of a wake-up, few enough to let timers run. */
const BATCH_MAX = 64;

/**
 * Opens a TUN interface (IP packets) or TAP interface (Ethernet frames) of this process's network
 * namespace; start the program with `ip netns exec NAME` for another one. Linux only.
 *
 * Addresses, routes and "up" are set from outside, with `ip`. `closed` is told when the interface is
 * deleted.
 *
 * @throws {LinkError} `missing` (no /dev/net/tun), `denied` (no right to it), `busy` (another process
 * holds the name), `unsupported` (not Linux, or no FFI) or `io`.
 * @throws {RangeError} When the name or MTU cannot be one.
 * @example
 * ```ts
 * import { openTun } from "@torpor/torpor/net/link/tun.ts";
 * const link = await openTun({ name: "torpor0" });
 * link.open({ receive: (_slab, start, end) => console.log(end - start), flush: () => {}, closed: () => {} });
 * ```
 */
export async function openTun(options: OpenTunOptions): Promise<TunLink> {
  const { name, mode = "tun" } = options;
  const mtu = checkMtu(options.mtu ?? 1500);
  const nameBytes = new TextEncoder().encode(name);
  if (nameBytes.length === 0 || nameBytes.length > NAME_BYTES_MAX || /[\s/:\0]/.test(name)) {
    throw new RangeError(
      `Cannot open interface ${JSON.stringify(name)}: need a name of 1 to ${NAME_BYTES_MAX} bytes ` +
        `without white space, "/" and ":"`,
    );
  }
  if (process.platform !== "linux") {
    throw new LinkError(
      "unsupported",
      `Cannot open interface "${name}": TUN links need Linux, not ${process.platform}`,
    );
  }
  const libc = await loadLibc();
  const { fd, name: given, offloads } = options.fd === undefined
    ? attach(libc, name, nameBytes, mode, options.offloads ?? mode === "tun", options.multiQueue ?? false)
    : { fd: unblocked(libc, options.fd, name), name, offloads: Offloads.none };
  const slab = Slab.forPackets(READ_BYTES);
  for (const way of options.wait === undefined ? waysToWait() : [options.wait]) {
    const readiness = watch(way, libc, fd, slab.bytes);
    if (readiness !== undefined) return new Tun(libc, fd, readiness, slab, given, way, mode, mtu, offloads);
  }
  libc.close(fd);
  throw new LinkError(
    "unsupported",
    `Cannot open interface "${name}": no way to wait for it on this runtime`,
  );
}

function attach(
  libc: Libc,
  name: string,
  nameBytes: Uint8Array,
  mode: "tun" | "tap",
  offloads: boolean,
  multiQueue: boolean,
): { fd: number; name: string; offloads: Offloads } {
  const fd = libc.open(new TextEncoder().encode("/dev/net/tun\0"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) throw openError(name, libc.errno());
  const ifreq = Slab.of(IFREQ.bytes);
  ifreq.bytes.set(nameBytes);
  const flags = (mode === "tun" ? IFF_TUN : IFF_TAP) | IFF_NO_PI | (offloads ? IFF_VNET_HDR : 0) |
    (multiQueue ? IFF_MULTI_QUEUE : 0);
  ifreq.view.setUint16(IFREQ.flags, flags, true);
  if (libc.ioctl(fd, TUNSETIFF, ifreq.bytes) < 0) {
    const errno = libc.errno();
    libc.close(fd);
    throw attachError(name, mode, errno);
  }
  const given = offloads ? setOffloads(libc, fd, mode) : Offloads.none;
  if (offloads && given === Offloads.none) {
    libc.close(fd);
    return attach(libc, name, nameBytes, mode, false, multiQueue);
  }
  const nameEnd = ifreq.bytes.indexOf(0);
  return { fd, name: new TextDecoder().decode(ifreq.bytes.subarray(0, nameEnd)), offloads: given };
}

/** What a device does for us: nothing, checksums and trains of TCP, trains of UDP as well. */
const Offloads = { none: 0, tcp: 1, udp: 2 } as const;
type Offloads = (typeof Offloads)[keyof typeof Offloads];

/** Asks for headers of the length that we write, and for what they are about. */
function setOffloads(libc: Libc, fd: number, mode: "tun" | "tap"): Offloads {
  const size = new Uint8Array(Int32Array.of(VNET_HEADER_BYTES).buffer);
  if (libc.ioctl(fd, TUNSETVNETHDRSZ, size) < 0) return Offloads.none;
  const all = mode === "tun" && libc.ioctlValue(fd, TUNSETOFFLOAD, TUN_OFFLOADS | TUN_UDP_OFFLOADS) >= 0;
  if (all) return Offloads.udp;
  return libc.ioctlValue(fd, TUNSETOFFLOAD, TUN_OFFLOADS) >= 0 ? Offloads.tcp : Offloads.none;
}

/** Reads until EAGAIN must not block, whatever the process that made the descriptor chose. */
function unblocked(libc: Libc, fd: number, name: string): number {
  const flags = libc.fcntl(fd, F_GETFL, 0);
  if (flags < 0 || libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    throw new LinkError("io", `Cannot use descriptor ${fd} for interface "${name}": errno ${libc.errno()}`);
  }
  return fd;
}

function openError(name: string, errno: number): LinkError {
  const what = `Cannot open interface "${name}"`;
  if (errno === Errno.ENOENT || errno === Errno.ENXIO || errno === Errno.ENODEV) {
    return new LinkError(
      "missing",
      `${what}: there is no /dev/net/tun; run "modprobe tun", or give the container "--device /dev/net/tun"`,
    );
  }
  if (errno === Errno.EACCES || errno === Errno.EPERM) {
    return new LinkError(
      "denied",
      `${what}: this user may not open /dev/net/tun; run as root, or change its mode`,
    );
  }
  return new LinkError("io", `${what}: opening /dev/net/tun failed with errno ${errno}`);
}

function attachError(name: string, mode: string, errno: number): LinkError {
  const what = `Cannot open interface "${name}"`;
  if (errno === Errno.EPERM) {
    return new LinkError(
      "denied",
      `${what}: it needs CAP_NET_ADMIN in this network namespace; run as root, or let root prepare it with ` +
        `"ip tuntap add dev ${name} mode ${mode} user USER"`,
    );
  }
  if (errno === Errno.EBUSY) {
    return new LinkError("busy", `${what}: another process holds it; end that one or take another name`);
  }
  if (errno === Errno.EINVAL) {
    return new LinkError(
      "busy",
      `${what}: an interface of another kind has this name (TUN or TAP, one queue or "multi_queue"); take another one, or delete it with "ip link del ${name}"`,
    );
  }
  return new LinkError("io", `${what}: TUNSETIFF failed with errno ${errno}`);
}

class Tun implements TunLink {
  readonly medium: Medium;
  readonly mtu: number;
  readonly name: string;
  readonly wait: TunWait;
  readonly trainBytesMax: number;
  readonly datagramTrains: boolean;
  readonly counters: LinkCounters = linkCounters();
  /** @internal For the bench that says what it should be. */
  writevBytesMin = WRITEV_BYTES_MIN;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #readiness: Readiness;
  readonly #slab: Slab;
  readonly #frameBytesMax: number;
  /** Where the packet memory lies, 0 before it has been asked for. */
  #memoryAddress = 0;
  readonly #iov = Slab.of(3 * IOVEC_BYTES);
  /** Bytes of a header in front of each packet: 0 without offloads. */
  readonly #headerBytes: number;
  /** Whether the sink takes packets that have `segmentBytes`. */
  #trainsIn = false;
  /** Datagrams that wait for the end of the turn, or for the first packet that does not belong to them. */
  #datagrams: DatagramTrain | undefined;
  /** For packets that have no room in front. */
  #roomy: Slab | undefined;
  #sink: LinkSink | undefined;
  #closed = false;
  #freed: Promise<void> | undefined;
  #error: LinkError | undefined;
  /** The view that the last send wrote from: a stack sends from one slab, at one offset. */
  #sendSlab: Slab | undefined;
  #sendStart = 0;
  #sendView: Uint8Array = new Uint8Array(0);

  constructor(
    libc: Libc,
    fd: number,
    readiness: Readiness,
    slab: Slab,
    name: string,
    wait: TunWait,
    mode: "tun" | "tap",
    mtu: number,
    offloads: Offloads,
  ) {
    this.trainBytesMax = offloads === Offloads.none ? 0 : TRAIN_BYTES_MAX;
    this.#headerBytes = offloads === Offloads.none ? 0 : VNET_HEADER_BYTES;
    this.datagramTrains = offloads === Offloads.udp;
    this.medium = mode === "tun" ? "ip" : "ethernet";
    this.mtu = mtu;
    this.name = name;
    this.wait = wait;
    this.#libc = libc;
    this.#fd = fd;
    this.#readiness = readiness;
    this.#slab = slab;
    this.#frameBytesMax = frameBytesMax(this.medium, mtu);
  }

  get offloads(): boolean {
    return this.trainBytesMax > 0;
  }

  open(sink: LinkSink): void {
    assert(this.#sink === undefined, "A link belongs to one sink for its whole life");
    this.#sink = sink;
    this.#trainsIn = this.offloads && sink.trains === true;
    // What is on its way already may still be a train.
    if (this.offloads && !this.#trainsIn) this.#libc.ioctlValue(this.#fd, TUNSETOFFLOAD, 0);
    if (this.#closed) setTimeout(() => sink.closed(), 0);
    else this.#readiness.start((length) => this.#ready(length));
  }

  ref(): void {
    this.#readiness.keepAlive?.(true);
  }
  unref(): void {
    this.#readiness.keepAlive?.(false);
  }

  send(slab: Slab, start: number, end: number, segmentBytes = 0): boolean {
    const length = end - start;
    assert(length > 0 && start >= 0 && end <= slab.bytes.length, "A frame lies inside its slab");
    assert(segmentBytes === 0 || this.offloads, "Trains go where they are cut");
    if (this.#closed || length > (segmentBytes > 0 ? this.trainBytesMax : this.#frameBytesMax)) {
      this.counters.dropsOut++;
      return false;
    }
    const header = this.#headerBytes;
    if (header === 0) return this.#write(slab, start, end, length);
    if (this.datagramTrains && segmentBytes === 0 && this.#gathers(slab, start, end)) return true;
    this.#sendDatagrams();
    if (start < header) {
      const roomy = this.#roomy ??= Slab.of(header + READ_BYTES);
      roomy.bytes.set(slab.bytes.subarray(start, end), header);
      slab = roomy;
      start = header;
    }
    writeVnetHeader(slab, start - header, start + length, segmentBytes);
    return this.#write(slab, start - header, start + length, length);
  }

  /** What TCP has in its ring goes to the device from there. */
  sendGathered(
    slab: Slab,
    start: number,
    end: number,
    segmentBytes: number,
    tail: Tail,
  ): boolean {
    const header = this.#headerBytes;
    const length = end - start;
    if (tail.bytes < this.writevBytesMin) {
      copyTail(tail, slab, end - tail.bytes);
      copied[Copies.out]! += tail.bytes;
      return this.send(slab, start, end, segmentBytes);
    }
    const { restBytes } = tail;
    const first = tail.bytes - restBytes;
    assert(
      slab.address >= 0 && start >= header && tail.bytes < length,
      "The headers lie in the packet memory",
    );
    assert(tail.at >= 0 && tail.at + first <= packetMemory.length, "And so does the rest");
    assert(tail.restAt >= 0 && tail.restAt + restBytes <= packetMemory.length, "which may begin again");
    this.#sendDatagrams();
    if (this.#closed || length > (segmentBytes > 0 ? this.trainBytesMax : this.#frameBytesMax)) {
      this.counters.dropsOut++;
      return false;
    }
    if (header > 0) writeVnetHeader(slab, start - header, end, segmentBytes);
    this.#memoryAddress ||= this.#libc.addressOf(packetMemory);
    const headersAt = this.#memoryAddress + slab.address + start - header;
    setIovec(this.#iov, 0, headersAt, header + length - tail.bytes);
    setIovec(this.#iov, 1, this.#memoryAddress + tail.at, first);
    setIovec(this.#iov, 2, this.#memoryAddress + tail.restAt, restBytes);
    const pieces = restBytes > 0 ? 3 : 2;
    if (this.#libc.writev(this.#fd, this.#iov.bytes, pieces) !== header + length) {
      this.counters.dropsOut++;
      return false;
    }
    this.counters.framesOut++;
    this.counters.bytesOut += length;
    return true;
  }

  /** Writes `[start, end)`, of which `packetBytes` are the packet. */
  #write(slab: Slab, start: number, end: number, packetBytes: number): boolean {
    const length = end - start;
    if (slab !== this.#sendSlab || start !== this.#sendStart) {
      this.#sendSlab = slab;
      this.#sendStart = start;
      this.#sendView = start === 0 ? slab.bytes : slab.bytes.subarray(start);
    }
    // -1 is a full queue, an interface that is down, or a packet the kernel does not take: lost, as on a wire.
    if (this.#libc.write(this.#fd, this.#sendView, length) !== length) {
      this.counters.dropsOut++;
      return false;
    }
    this.counters.framesOut++;
    this.counters.bytesOut += packetBytes;
    return true;
  }

  flush(): void {
    this.#sendDatagrams(); // every other frame was a write of its own
  }

  /** Whether the packet in `[start, end)` waits with others of its flow. */
  #gathers(slab: Slab, start: number, end: number): boolean {
    if (slab.view.getUint8(start + (slab.view.getUint8(start) >>> 4 === 6 ? 6 : 9)) !== PROTOCOL_UDP) {
      return false;
    }
    const train = this.#datagrams ??= new DatagramTrain(this.#headerBytes);
    if (train.add(slab, start, end)) return true;
    this.#sendDatagrams();
    return train.add(slab, start, end);
  }

  #sendDatagrams(): void {
    const train = this.#datagrams;
    if (train === undefined || train.count === 0) return;
    const { slab, start, end, count, segmentBytes } = train;
    if (count === 1) writeVnetHeader(slab, 0, end, 0);
    else {
      train.finish();
      writeDatagramsHeader(slab, 0, segmentBytes);
    }
    train.clear();
    this.#write(slab, 0, end, end - start);
  }

  close(): Promise<void> {
    this.#sendDatagrams();
    this.#closed = true;
    return this.#freed ??= new Promise((resolve) => {
      this.#readiness.close(() => {
        resolve();
        this.#sink?.closed(this.#error);
      });
    });
  }

  /** Packets are there; `length` bytes of the first are read already. */
  #ready(length: number): void {
    if (this.#closed) return;
    if (length < 0) return this.#end(-length);
    const libc = this.#libc;
    const { bytes } = this.#slab;
    if (length > 0) this.#deliver(length);
    let packets = length > 0 ? 1 : 0;
    const sink = this.#sink!;
    for (; packets < BATCH_MAX && !this.#closed; packets++) {
      if (sink.full) {
        if (this.wait === "pipe") break; // it says again at once that there is more
        sink.flush();
      }
      length = libc.read(this.#fd, bytes, READ_BYTES);
      if (length < 0) {
        const errno = libc.errno();
        if (errno !== Errno.EAGAIN && errno !== Errno.EINTR) return this.#end(errno);
        break;
      }
      this.#deliver(length);
    }
    if (this.#closed) return;
    if (packets > 0) sink.flush();
    if (!this.#closed) this.#readiness.rearm();
  }

  #deliver(length: number): void {
    const start = this.#headerBytes;
    const segmentBytes = start === 0 ? 0 : readVnetHeader(this.#slab, 0);
    const train = segmentBytes > 0 && segmentBytes < WHOLE_SEGMENT;
    if (length <= start || segmentBytes < 0 || (!train && length - start > this.#frameBytesMax)) {
      this.counters.dropsIn++;
      return;
    }
    this.counters.framesIn++;
    this.counters.bytesIn += length - start;
    const sink = this.#sink!;
    const whole = this.#trainsIn && !(train && isDatagramTrain(this.#slab, 0)); // a socket wants datagrams
    if (segmentBytes === 0 || whole) sink.receive(this.#slab, start, length, segmentBytes);
    else cutTrain(this.#slab, start, length, segmentBytes, this.#receiveCut);
  }

  readonly #receiveCut = (slab: Slab, start: number, end: number): void =>
    this.#sink!.receive(slab, start, end);

  #end(errno: number): void {
    this.#error = new LinkError(
      "io",
      `Interface "${this.name}" has ended: errno ${errno} (77 when it was deleted)`,
    );
    this.close();
  }
}
