import { Prng } from "../../base/random.ts";
import { RecordState } from "../../net/connections/connection_map.ts";
import { FrameQueue } from "../../net/link/frame_queue.ts";
import { Stack } from "../../net/stack.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { type Tcb, TcpError, TcpEvent, TcpState } from "../../net/tcp/tcb.ts";
import { tcpAbort, tcpClose, tcpConnect, tcpReceive, tcpSend, tcpShutdown } from "../../net/tcp/user.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { assert } from "../../base/assert.ts";
import {
  CHUNK_BYTES,
  DATAGRAM_BYTES,
  DATAGRAMS,
  type Done,
  PORT,
  type Subject,
  type Work,
} from "./subject.ts";

const START_MS = 1_700_000_000_000;
const CLIENT = parseIpv4("10.0.0.2")!;
const SERVER = parseIpv4("10.0.0.1")!;
const QUEUE_MAX = 1_000;
/** How far time moves in a turn: a fast network's round trip. */
const TURN_MS = 0.01;
const PORT_FIRST = 1_024;
/** 11.0.0.0: who is in the map and does nothing. */
const CROWD = 0x0b00_0000;
/** Connections that take turns. */
const FAN = 64;
/** Turns between two looks at the real clock. */
const TURNS = 64;

/** Two stacks, a queue in each direction and a loop: nothing but the stack's own work, in time of its own. */
export class BareStacks implements Subject {
  readonly #client: Stack;
  readonly #server: Stack;
  readonly #toClient = new FrameQueue(QUEUE_MAX);
  readonly #toServer = new FrameQueue(QUEUE_MAX);
  readonly #batchMax: number;
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  readonly #byte = Uint8Array.of(7);
  #nowMs = START_MS;
  #deadlineMs = Infinity;
  #packets = 0;
  #port = PORT_FIRST;
  #crowd = 0;
  // What the round at hand has done so far.
  #received = 0;
  #answers = 0;
  #closed = 0;
  #datagramsIn = 0;
  #sending = false;

  /** `batchMax` frames at most arrive in one turn: a link that drains its device brings many, a slow one brings one. */
  constructor(batchMax: number, tcp: Partial<TcpConfig> = {}, connectionsMax?: number) {
    this.#batchMax = batchMax;
    this.#client = this.#stack("10.0.0.2/24", this.#toServer, 1, tcp);
    this.#server = this.#stack("10.0.0.1/24", this.#toClient, 2, tcp, connectionsMax);
    for (const port of Object.values(PORT)) this.#server.tcp.listeners.add(0, port, 16);
    this.#client.upcalls = {
      tcpEvents: (tcb, events) => this.#clientEvents(tcb, events),
      udpReadable() {},
      tcpSuspended() {},
      tcpRestored() {},
    };
    this.#server.upcalls = {
      tcpEvents: (tcb, events) => this.#serverEvents(tcb, events),
      udpReadable: (socket) => {
        while (socket.shift() !== undefined) this.#datagramsIn++;
      },
      tcpSuspended() {},
      tcpRestored() {},
    };
    this.#server.udp.bind(0, PORT.datagrams);
  }

  run(work: Work, roundMs: number): Done {
    this.#packets =
      this.#received =
      this.#answers =
      this.#closed =
      this.#datagramsIn =
        0;
    const startMs = performance.now();
    const count = this[work](startMs + roundMs);
    return { count, packets: this.#packets, elapsedMs: performance.now() - startMs };
  }

  close(): void {}

  bulk(untilMs: number): number {
    const tcb = this.#connect(PORT.discard);
    this.#sending = true;
    this.#fill(tcb);
    do {
      for (let turn = 0; turn < TURNS; turn++) this.#turn();
    } while (performance.now() < untilMs);
    this.#sending = false;
    while (tcb.sendQueue.length > 0) this.#turn();
    this.#finish(tcb);
    return this.#received;
  }

  roundTrips(untilMs: number): number {
    const tcb = this.#connect(PORT.echo);
    this.#sending = true;
    tcpSend(this.#client.tcp, tcb, this.#byte, 0, 1);
    do {
      for (let turn = 0; turn < TURNS; turn++) this.#turn();
    } while (performance.now() < untilMs);
    this.#sending = false;
    const answers = this.#answers;
    this.#finish(tcb);
    return answers;
  }

  connections(untilMs: number): number {
    let count = 0;
    do {
      for (let each = 0; each < 16; each++) {
        const before = this.#closed;
        const tcb = this.#connect(PORT.once);
        tcpSend(this.#client.tcp, tcb, this.#byte, 0, 1);
        while (this.#closed === before) this.#turn();
        count++;
      }
    } while (performance.now() < untilMs);
    assert(this.#answers === count, "Every connection was answered");
    return count;
  }

  datagrams(untilMs: number): number {
    const bytes = this.#chunk.subarray(0, DATAGRAM_BYTES);
    let count = 0;
    do {
      for (let each = 0; each < DATAGRAMS; each++) {
        this.#client.udp.send(CLIENT, PORT_FIRST, SERVER, PORT.datagrams, bytes, this.#nowMs);
      }
      while (this.#toServer.count > 0) this.#turn();
      count += DATAGRAMS;
    } while (performance.now() < untilMs);
    assert(this.#datagramsIn === count, "All of them arrive");
    return count;
  }

  /** So many connections more are in the server's map, and do nothing. */
  crowd(count: number): void {
    const { connections } = this.#server;
    for (; this.#crowd < count; this.#crowd++) {
      const record = connections.insert(SERVER, CROWD + (this.#crowd >>> 15), 80, this.#crowd & 0x7fff);
      connections.setState(record, RecordState.asleep);
    }
  }

  /** Round trips of one byte, one on each of `FAN` connections in turn, so that none is its predecessor's. */
  fan(roundMs: number): Done {
    this.#packets = this.#answers = 0;
    const tcbs = Array.from({ length: FAN }, () => this.#connect(PORT.echo));
    const startMs = performance.now();
    const packets = this.#packets;
    this.#sending = true;
    for (const tcb of tcbs) tcpSend(this.#client.tcp, tcb, this.#byte, 0, 1);
    do {
      for (let turn = 0; turn < TURNS; turn++) this.#turn();
    } while (performance.now() < startMs + roundMs);
    this.#sending = false;
    const done = {
      count: this.#answers,
      packets: this.#packets - packets,
      elapsedMs: performance.now() - startMs,
    };
    for (const tcb of tcbs) this.#finish(tcb);
    return done;
  }

  #stack(
    address: string,
    out: FrameQueue,
    seed: number,
    tcp: Partial<TcpConfig>,
    connectionsMax?: number,
  ): Stack {
    const limit = connectionsMax === undefined ? {} : { connectionsMax };
    const stack = new Stack({ nowMs: START_MS, entropy: new Prng(seed), tcp, ...limit });
    stack.addInterface({
      name: "net0",
      link: {
        medium: "ip",
        mtu: 1500,
        send: (slab, start, end) => out.push(slab, start, end),
        sendGathered: (slab, start, end, _segmentBytes, tail) => out.push(slab, start, end, 0, 0, tail),
        flush: () => {},
      },
    });
    stack.setRoutes({ addresses: [{ address }] });
    return stack;
  }

  #connect(port: number): Tcb {
    const clientPort = this.#port++;
    if (this.#port === 65536) this.#port = PORT_FIRST;
    const tcb = tcpConnect(this.#client.tcp, CLIENT, clientPort, SERVER, port, this.#nowMs);
    assert(tcb !== undefined, "The port is free");
    tcb.noDelay = true;
    while (tcb.state < TcpState.established) this.#turn();
    return tcb;
  }

  #finish(tcb: Tcb): void {
    tcpAbort(this.#client.tcp, tcb, this.#nowMs);
    while (this.#toServer.count > 0) this.#turn();
  }

  #turn(): void {
    this.#nowMs += TURN_MS;
    // Nothing is on the way, so time can pass until somebody's timer rings.
    if (this.#toServer.count + this.#toClient.count === 0 && this.#deadlineMs > this.#nowMs) {
      if (this.#deadlineMs < Infinity) this.#nowMs = this.#deadlineMs;
    }
    const first = this.#deliver(this.#server, this.#toServer);
    this.#deadlineMs = Math.min(first, this.#deliver(this.#client, this.#toClient));
  }

  #deliver(stack: Stack, queue: FrameQueue): number {
    for (let left = Math.min(queue.count, this.#batchMax); left > 0; left--) {
      stack.receive(0, queue.slab, queue.headStart, queue.headEnd, this.#nowMs);
      queue.shift();
      this.#packets++;
    }
    return stack.poll(this.#nowMs);
  }

  #fill(tcb: Tcb): void {
    while (tcpSend(this.#client.tcp, tcb, this.#chunk, 0, CHUNK_BYTES) === CHUNK_BYTES);
  }

  #clientEvents(tcb: Tcb, events: number): void {
    const { tcp } = this.#client;
    if ((events & TcpEvent.readable) !== 0) {
      this.#answers += tcpReceive(tcp, tcb, this.#chunk, 0, CHUNK_BYTES);
      if (this.#sending) tcpSend(tcp, tcb, this.#byte, 0, 1);
      else if (tcb.finReceived) tcpClose(tcp, tcb, this.#nowMs);
    }
    if ((events & TcpEvent.writable) !== 0 && this.#sending) this.#fill(tcb);
    if ((events & TcpEvent.closed) !== 0) {
      tcb.given = true;
      this.#closed++;
      assert(tcb.error === TcpError.none || tcb.error === TcpError.aborted, "It ended in peace");
    }
  }

  #serverEvents(tcb: Tcb, events: number): void {
    if ((events & TcpEvent.closed) !== 0) tcb.given = true;
    if ((events & TcpEvent.established) !== 0) this.#server.tcp.listeners.byId(tcb.listener)!.waiting--; // accepted
    if ((events & TcpEvent.readable) === 0 || tcb.state === TcpState.closed) return;
    const { tcp } = this.#server;
    for (;;) {
      const count = tcpReceive(tcp, tcb, this.#chunk, 0, CHUNK_BYTES);
      if (count === 0) return;
      if (tcb.localPort === PORT.discard) this.#received += count;
      else tcpSend(tcp, tcb, this.#chunk, 0, count);
      if (tcb.localPort === PORT.once) tcpShutdown(tcp, tcb);
    }
  }
}
