import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { Firewall } from "../../../net/firewall/firewall.ts";
import type { Stack } from "../../../net/stack.ts";
import { tcpAbort, tcpConnect, tcpSend } from "../../../net/tcp/user.ts";
import { canWrite } from "../../../net/tcp/user.ts";
import type { UdpSocket } from "../../../net/udp/udp.ts";
import { dropNames } from "../../../net/wire/drop.ts";
import { INTERFACES, randomRules } from "../../net/firewall/random_rules.ts";
import { Dice } from "../dice.ts";
import { makeStack } from "../make_stack.ts";
import { checkPacket } from "../packet_check.ts";
import { frames, hex, mendPacket } from "../packets.ts";
import { ipPacket } from "../segment_bytes.ts";
import type { Target } from "../target.ts";

const START_MS = 1_700_000_000_000;
const MAC = [2, 0, 0, 0, 0, 0x0b];
const PEER_MAC = [2, 0, 0, 0, 0, 0x0a];
const GROUP_MAC = [0x33, 0x33, 0, 0, 0, 1];
const MTU = [1_500, 1_400] as const;
const STEPS_MAX = 2_000;

const LINK_LOCAL = [0xfe, 0x80, ...new Array<number>(13).fill(0), 0x0a];
const ALL_NODES = [0xff, 2, ...new Array<number>(13).fill(0), 1];
const GLOBAL = [0x20, 1, 0x0d, 0xb8, ...new Array<number>(11).fill(0)];

function frame(destination: readonly number[], etherType: number, packet: Uint8Array): Uint8Array {
  mendPacket(packet);
  return Uint8Array.from([...destination, ...PEER_MAC, etherType >> 8, etherType & 255, ...packet]);
}

function frame6(destination: readonly number[], to: readonly number[], message: string): Uint8Array {
  return frame(destination, 0x86dd, ipPacket(LINK_LOCAL, to, 58, hex(message), 0, 255));
}

/** What comes along on an Ethernet; a script changes bytes of it and puts the checksums right. */
const BASES: readonly Uint8Array[] = [
  ...frames,
  frame6(
    GROUP_MAC,
    ALL_NODES,
    `8600 0000 40 00 0708 00000000 00000000 0101 02000000000a 0501 0000 000005dc 0304 40c0 00000e10 00000e10 00000000 20010db8${
      "00".repeat(12)
    } 1903 0000 00000708 20010db8${"00".repeat(11)}53`,
  ),
  frame6(MAC, [...GLOBAL, 0x0b], `8700 0000 00000000 20010db8${"00".repeat(11)}0b 0101 02000000000a`),
  frame6(MAC, [...GLOBAL, 0x0b], `8800 0000 60000000 20010db8${"00".repeat(11)}0a 0201 02000000000a`),
  frame6(GROUP_MAC, ALL_NODES, `8200 0000 2710 0000 ${"00".repeat(16)} 027d 0000`),
  frame6(MAC, [...GLOBAL, 0x0b], "8000 0000 0001 0001 0102030405060708"),
  frame(
    [1, 0, 0x5e, 0, 0, 1],
    0x0800,
    ipPacket([192, 0, 2, 1], [224, 0, 0, 1], 2, hex("1164 0000 00000000 027d 0000")),
  ),
  frame(
    MAC,
    0x0800,
    ipPacket([192, 0, 2, 1], [192, 0, 2, 2], 17, hex("1234 0035 0010 0000 0102030405060708")),
  ),
  frame(
    MAC,
    0x0800,
    ipPacket([192, 0, 2, 1], [198, 51, 100, 7], 17, hex("1234 0035 0010 0000 0102030405060708")),
  ),
  frame(
    MAC,
    0x86dd,
    ipPacket(
      [...GLOBAL, 0x0a],
      [...GLOBAL, 0x0b],
      6,
      hex("0fa0 0050 00000001 00000000 6002 ffff 0000 0000 020405a0"),
    ),
  ),
];

/** A stack on an Ethernet and a tunnel, with as much switched on as the script says. */
class Wires {
  readonly #dice: Dice;
  readonly #stack: Stack;
  readonly #socket: UdpSocket;
  #nowMs = START_MS;
  #sent = 0;

  constructor(input: Uint8Array<ArrayBuffer>) {
    const dice = this.#dice = new Dice(input);
    const bits = dice.byte();
    const stack = this.#stack = makeStack({
      nowMs: START_MS,
      entropy: new Prng(1),
      forwarding: (bits & 1) !== 0,
      connectionsMax: 8,
    });
    const [hi, lo] = [0x0200, 0x0000_000b];
    stack.addInterface({ name: "eth0", mac: { hi, lo }, link: this.#link("ethernet", 0) });
    stack.addInterface({ name: "tun0", link: this.#link("ip", 1) });
    stack.setRoutes({
      addresses: [
        { address: "192.0.2.2/24", gateway: "192.0.2.1" },
        { address: "2001:db8::b/64" },
        { address: "198.51.100.1/24", interface: 1 },
        { address: "2001:db8:1::1/64", interface: 1 },
      ],
    });
    stack.upcalls = {
      tcpEvents() {},
      udpReadable: (socket) => void socket.shift(),
      tcpSuspended() {},
      tcpRestored() {},
    };
    stack.tcp.listeners.add(0, 80, 4);
    this.#socket = stack.udp.bind(0, 53)!;
    if ((bits & 2) !== 0) stack.firewall = new Firewall(randomRules(new Prng(bits), 6), INTERFACES);
    if ((bits & 4) !== 0) stack.autoconfigure(0, { secret: new Uint8Array(16) }, START_MS);
    if ((bits & 8) !== 0) {
      stack.igmp.join(0, stack.addresses.parse("224.1.2.3")!, START_MS);
      stack.mld.join(0, stack.addresses.parse("ff0e::123")!, START_MS);
    }
    if ((bits & 16) !== 0) stack.arp.probe(0, stack.addresses.parse("192.0.2.9")!);
  }

  #link(medium: "ethernet" | "ip", index: 0 | 1) {
    const send = (slab: Slab, start: number, end: number): boolean => {
      assert(++this.#sent < 100_000, "Frames without end");
      const bytes = slab.bytes.slice(start, end);
      if (medium === "ip") checkPacket(bytes, MTU[index]);
      else this.#checkFrame(bytes);
      return true;
    };
    return { medium, mtu: MTU[index], send, flush: () => {} };
  }

  #checkFrame(bytes: Uint8Array): void {
    assert(bytes.length >= 14 && bytes.length <= 14 + MTU[0], `A frame of ${bytes.length} bytes`);
    for (let at = 0; at < 6; at++) assert(bytes[6 + at] === MAC[at], "We sent it");
    const etherType = bytes[12]! * 256 + bytes[13]!;
    if (etherType === 0x0806) {
      assert(
        bytes.length === 42 && [0, 1, 8, 0, 6, 4, 0].every((byte, at) => byte === bytes[14 + at]),
        "ARP as it is",
      );
      return;
    }
    assert(etherType === 0x0800 || etherType === 0x86dd, "IP");
    checkPacket(bytes.subarray(14), MTU[0]);
  }

  run(): void {
    while (!this.#dice.done) {
      this.#act();
      this.#poll();
    }
    for (const tcb of [...this.#stack.tcp.tcbs()]) tcpAbort(this.#stack.tcp, tcb, this.#nowMs);
    this.#poll();
    assert(this.#stack.connections.size === 0, "No connection is left");
    this.#pass(300_000);
    assert(this.#stack.reassembly.nextDeadlineMs() === Infinity, "No fragment waits");
  }

  #act(): void {
    const dice = this.#dice;
    switch (dice.below(8)) {
      case 0:
        return this.#pass(dice.pick([1, 100, 1_000, 5_000, 30_000, 600_000]));
      case 1:
        return this.#receive(
          0,
          Uint8Array.from([
            ...MAC,
            ...PEER_MAC,
            ...dice.pick([[8, 0], [8, 6], [0x86, 0xdd], [0, 5]]),
            ...dice.take(dice.byte()),
          ]),
        );
      case 2: {
        const packet = dice.take(dice.byte());
        mendPacket(packet);
        return this.#receive(1, packet);
      }
      case 3:
        return this.#send();
      default:
        return this.#receive(0, this.#changed());
    }
  }

  /** A known frame with a few bytes changed; between networks it comes in through the tunnel. */
  #changed(): Uint8Array<ArrayBuffer> {
    const dice = this.#dice;
    const base = dice.pick(BASES).slice() as Uint8Array<ArrayBuffer>;
    for (let changes = dice.below(8); changes > 0; changes--) {
      const at = dice.byte() % base.length;
      base[at] = dice.byte();
    }
    const cut = dice.chance(32) ? dice.byte() % (base.length + 1) : base.length;
    const packet = base.subarray(14, cut);
    if (!dice.chance(16)) mendPacket(packet);
    return base.slice(0, cut);
  }

  #receive(interfaceIndex: number, bytes: Uint8Array<ArrayBuffer>): void {
    const slab = Slab.of(bytes.length + 8);
    slab.bytes.fill(0xee);
    slab.bytes.set(bytes, 4);
    const drop = this.#stack.receive(interfaceIndex, slab, 4, 4 + bytes.length, this.#nowMs);
    assert(dropNames[drop] !== undefined, `${drop} is no reason`);
  }

  /** Applications that send somewhere. */
  #send(): void {
    const dice = this.#dice;
    const stack = this.#stack;
    const to = stack.addresses.parse(
      dice.pick([
        "192.0.2.1",
        "192.0.2.77",
        "203.0.113.1",
        "198.51.100.9",
        "2001:db8::a",
        "2001:db8:1::9",
        "224.1.2.3",
        "ff0e::123",
        "255.255.255.255",
        "192.0.2.2",
      ]),
    )!;
    if (dice.chance(128)) {
      const bytes = new Uint8Array(dice.pick([1, 1_472, 3_000]));
      const local = stack.output.sourceTowards(to) ?? 0;
      stack.udp.send(local, 53, to, 1 + dice.byte(), bytes, this.#nowMs, this.#socket);
      return;
    }
    const from = stack.output.sourceTowards(to);
    if (from === undefined || from === 0) return;
    const tcb = tcpConnect(stack.tcp, from, 5_000 + dice.below(4), to, 80, this.#nowMs);
    if (tcb !== undefined && canWrite(tcb)) tcpSend(stack.tcp, tcb, new Uint8Array(3_000), 0, 3_000);
  }

  #poll(): number {
    let deadlineMs = this.#stack.poll(this.#nowMs);
    for (let turns = 0; deadlineMs <= this.#nowMs; turns++) {
      assert(turns < 64, "The stack asks for turns without end");
      deadlineMs = this.#stack.poll(this.#nowMs);
    }
    const sent = this.#sent;
    assert(
      this.#stack.poll(this.#nowMs) >= deadlineMs && this.#sent === sent,
      "Polled before its deadline it is silent",
    );
    assert(this.#stack.connections.size <= 8, "No more connections than allowed");
    return deadlineMs;
  }

  #pass(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (let steps = 0;; steps++) {
      assert(steps < STEPS_MAX, "The stack is never at rest");
      const deadlineMs = this.#poll();
      if (deadlineMs > untilMs) break;
      this.#nowMs = deadlineMs;
    }
    this.#nowMs = untilMs;
    this.#poll();
  }
}

export const targets: readonly Target[] = [
  {
    name: "stack/frames",
    about:
      "a stack on an Ethernet and a tunnel: ARP, ND, MLD, IGMP, ICMP, UDP, forwarding, firewall, autoconfiguration; legal frames only",
    run: (input) => new Wires(input).run(),
    bytesMax: 400,
    seeds: () =>
      BASES.map((_, base) => Uint8Array.of(base % 32, 4, base, 0, 255, 0, 0, 2, 4, base, 1, 30, 5, 255, 0)),
    allocationMax: (length) => (1 << 25) + (1 << 18) * length,
    workMax: (length) => 20_000_000 + 200_000 * length,
  },
];
