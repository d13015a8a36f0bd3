import { faultOf, freezeFlows, type FrozenFlow } from "../../../../net/firewall/conntrack/freeze.ts";
import { expect, test } from "vitest";
import { Hook, listFlows } from "../../../../net/firewall/conntrack/mod.ts";
import { NatKind } from "../../../../net/firewall/nat/mod.ts";
import { icmpMessage, ipPacket, tcpSegment, udpDatagram } from "./packets.ts";
import { type Ask, type Sided, TestRouter } from "./test_router.ts";

const NETWORKS = [["10.1.0.1", "fd01::1"], ["10.2.0.1", "fd02::1"]];
const CLIENT = "10.1.0.2", SERVER = "10.2.0.2";
const FIN = 1, SYN = 2, RST = 4, ACK = 16;
/** By the numbers that `TestRouter` writes into DSCP. */
const STATES = ["", "invalid", "new", "established", "related", "untracked"];

interface Talk {
  router: TestRouter;
  /** From the client, or back to it. */
  send(back: boolean, flags: number, seq: number, ack: number, length?: number): string;
}

/** What tracking says of each segment of a connection. */
function talk(options = {}): Talk {
  const router = new TestRouter(1, 0, NETWORKS, undefined, options);
  return {
    router,
    send(back, flags, seq, ack, length = 0) {
      const [sourcePort, destinationPort] = back ? [80, 4000] : [4000, 80];
      const transport = tcpSegment({
        sourcePort: sourcePort!,
        destinationPort: destinationPort!,
        seq,
        ack,
        flags,
        window: 1000,
        length,
      });
      const [source, destination] = back ? [SERVER, CLIENT] : [CLIENT, SERVER];
      const said = {
        side: back ? 1 : 0,
        bytes: ipPacket({ source: source!, destination: destination!, protocol: 6, transport }),
      };
      return stateOf(router.input(said));
    },
  };
}

/** The handshake. */
function open(send: Talk["send"]): void {
  send(false, SYN, 0, 0);
  send(true, SYN | ACK, 0, 1);
  send(false, ACK, 1, 1);
}

function stateOf(made: Sided | undefined): string {
  if (made === undefined) return "dropped";
  const mark = made.bytes[0]! >>> 4 === 4
    ? made.bytes[1]! >>> 2
    : ((made.bytes[0]! & 15) << 2) | (made.bytes[1]! >>> 6);
  return STATES[mark & 7]! + (mark & 8 ? " reply" : "");
}

/** Protocol, seconds left, state of TCP. */
function listed(router: TestRouter): string[] {
  return [...listFlows(router.conntrack, router.nowMs)];
}

test("a TCP connection from its SYN to TIME-WAIT, with the timeouts of nf_conntrack-sysctl.rst", () => {
  const { router, send } = talk();
  const state = (): string => listed(router).map((line) => line.split(" ").slice(2, 4).join(" ")).join();
  expect(send(false, SYN, 100, 0)).toBe("new");
  expect(state()).toBe("120 SYN_SENT");
  expect(send(true, SYN | ACK, 500, 101)).toBe("established reply");
  expect(state()).toBe("60 SYN_RECV");
  expect(send(false, ACK, 101, 501)).toBe("established");
  expect(state()).toBe("432000 ESTABLISHED");
  expect(send(false, ACK, 101, 501, 10)).toBe("established");
  expect(state()).toBe("300 ESTABLISHED"); // not acknowledged yet
  expect(send(true, ACK, 501, 111)).toBe("established reply");
  expect(state()).toBe("432000 ESTABLISHED");
  expect(send(false, FIN | ACK, 111, 501)).toBe("established");
  expect(state()).toBe("120 FIN_WAIT");
  expect(send(true, ACK, 501, 112)).toBe("established reply");
  expect(state()).toBe("60 CLOSE_WAIT");
  expect(send(true, FIN | ACK, 501, 112)).toBe("established reply");
  expect(state()).toBe("30 LAST_ACK");
  expect(send(false, ACK, 112, 502)).toBe("established");
  expect(state()).toBe("120 TIME_WAIT");
  router.nowMs = 119_990;
  expect(listed(router)).toHaveLength(1);
  router.nowMs = 120_000;
  expect(listed(router)).toEqual([]);
  // A SYN out of TIME-WAIT is another connection.
  expect(send(false, SYN, 9_000, 0)).toBe("new");
});

test("segments beyond the window, and resets that guess, are invalid; the connection stays", () => {
  const { router, send } = talk();
  open(send);
  expect(send(false, ACK, 1 + 100_000, 1, 10)).toBe("invalid");
  expect(send(true, ACK, 1, 100_000)).toBe("invalid"); // acknowledges what was never sent
  expect(send(false, RST, 0xffff_0000, 0)).toBe("invalid");
  expect(send(false, SYN | FIN, 1, 1)).toBe("invalid");
  expect(listed(router)[0]).toContain("ESTABLISHED");
  expect(send(false, RST, 1, 0)).toBe("established");
  expect(listed(router)[0]).toContain("10 CLOSE");
});

test("a connection is picked up in its middle, and forgotten when only a reset comes back", () => {
  const middle = talk();
  expect(middle.send(false, ACK, 7_000, 900, 10)).toBe("new");
  expect(listed(middle.router)[0]).toContain("300 ESTABLISHED"); // five minutes, until somebody answers
  expect(middle.send(true, ACK, 900, 7_010)).toBe("established reply");
  const refused = talk();
  expect(refused.send(false, SYN, 1, 0)).toBe("new");
  expect(refused.send(true, RST | ACK, 0, 2)).toBe("established reply");
  expect(listed(refused.router)).toEqual([]);
});

test("datagrams: 30 seconds, and 120 when they go both ways for longer than two", () => {
  const router = new TestRouter(1, 0, NETWORKS, undefined);
  const send = (back: boolean): string => {
    const transport = back
      ? udpDatagram(53, 4000, new Uint8Array(4))
      : udpDatagram(4000, 53, new Uint8Array(4));
    const [source, destination] = back ? [SERVER, CLIENT] as const : [CLIENT, SERVER] as const;
    return stateOf(
      router.input({ side: back ? 1 : 0, bytes: ipPacket({ source, destination, protocol: 17, transport }) }),
    );
  };
  expect(send(false)).toBe("new");
  expect(listed(router)[0]).toContain("udp 17 30 ");
  expect(listed(router)[0]).toContain("[UNREPLIED]");
  expect(send(false)).toBe("new");
  expect(send(true)).toBe("established reply");
  router.nowMs = 2_000;
  expect(send(false)).toBe("established");
  expect(listed(router)[0]).toContain("udp 17 30 ");
  router.nowMs = 2_010;
  expect(send(false)).toBe("established");
  expect(listed(router)[0]).toContain("udp 17 120 ");
  expect(listed(router)[0]).toContain("[ASSURED]");
});

test("an ICMP error is related to what it quotes, and comes to who sent that, as that knows it", () => {
  const ask: Ask = (packet, into) => {
    if (packet.hook === Hook.postrouting && packet.oif === 1) into.kind = NatKind.masquerade;
  };
  const router = new TestRouter(1, 0, NETWORKS, ask);
  const datagram = ipPacket({
    source: CLIENT,
    destination: SERVER,
    protocol: 17,
    transport: udpDatagram(4000, 9, new Uint8Array(4)),
  });
  const out = router.input({ side: 0, bytes: datagram })!;
  const error = (to: string, quoted: Uint8Array): Sided | undefined =>
    router.input({
      side: 1,
      bytes: ipPacket({
        source: "10.2.0.77",
        destination: to,
        protocol: 1,
        transport: icmpMessage(3, 3, 0, quoted),
      }),
    });
  const back = error("10.2.0.1", out.bytes.slice(0, 28))!;
  expect(stateOf(back)).toBe("related reply");
  // The quotation is what the client has sent, but for the hops and DSCP that the way has changed.
  expect([...back.bytes.slice(28 + 12, 28 + 28)]).toEqual([...datagram.slice(12, 28)]);
  expect([...back.bytes.slice(12, 20)]).toEqual([10, 2, 0, 77, 10, 1, 0, 2]);
  // About a flow, but to somebody who has no part in it.
  expect(stateOf(error("10.1.0.3", out.bytes.slice(0, 28)))).toBe("invalid");
  // About nothing that we know.
  expect(stateOf(error("10.1.0.2", datagram.slice(0, 28)))).toBe("invalid");
});

test("two clients with one port get two behind one address, each of its class", () => {
  const ask: Ask = (packet, into) => {
    if (packet.hook === Hook.postrouting && packet.oif === 1) into.kind = NatKind.masquerade;
  };
  for (const [port, low, high] of [[300, 1, 511], [600, 600, 1023], [4000, 1024, 65_535]] as const) {
    const router = new TestRouter(1, 0, NETWORKS, ask);
    const ports = new Set<number>();
    for (let host = 2; host < 100; host++) {
      const transport = udpDatagram(port, 53, new Uint8Array(4));
      const bytes = ipPacket({ source: `10.1.0.${host}`, destination: SERVER, protocol: 17, transport });
      const out = router.input({ side: 0, bytes })!;
      const got = (out.bytes[20]! << 8) | out.bytes[21]!;
      if (host === 2) expect(got).toBe(port); // kept while it is free
      expect(got).toBeGreaterThanOrEqual(low);
      expect(got).toBeLessThanOrEqual(high);
      expect(ports.has(got)).toBe(false);
      ports.add(got);
    }
  }
});

test("a packet that gets lost on its way leaves no flow", () => {
  const router = new TestRouter(1, 0, NETWORKS, undefined, { flowsMax: 4 });
  const toUs = (port: number): Sided => ({
    side: 0,
    bytes: ipPacket({
      source: CLIENT,
      destination: "10.1.0.1",
      protocol: 17,
      transport: udpDatagram(port, 9, new Uint8Array(4)),
    }),
  });
  for (let port = 1; port < 20; port++) expect(router.input(toUs(port))).toBeUndefined(); // released
  expect(router.conntrack.size).toBe(0);
  router.forgetful = true;
  for (let port = 1; port < 20; port++) expect(router.input(toUs(port))).toBeUndefined(); // and not
  expect(router.conntrack.size).toBe(1);
  expect(listed(router)).toEqual([]);
});

test("the table refuses when it is full of assured flows", () => {
  const { send, router } = talk({ flowsMax: 1 });
  open(send);
  const transport = udpDatagram(1, 2, new Uint8Array(4));
  const other = ipPacket({ source: CLIENT, destination: SERVER, protocol: 17, transport });
  expect(router.input({ side: 0, bytes: other })).toBeUndefined();
  expect(router.conntrack.size).toBe(1);
});

test("a flow that cannot be one is refused with what is wrong, and a sound one is taken", () => {
  const { send, router } = talk();
  open(send);
  send(false, ACK, 1, 1, 100);
  const [flow] = [...freezeFlows(router.conntrack, router.nowMs)];
  expect(faultOf(flow!)).toBe(undefined);
  const udp: FrozenFlow = { ...flow!, protocol: 17, words: [2_000] };
  expect(faultOf(udp)).toBe(undefined);
  const six = [new Uint8Array(16), new Uint8Array(16), 1] as const;
  const { original, words } = flow!;
  const wrong: readonly [part: Partial<FrozenFlow>, why: RegExp, of?: FrozenFlow][] = [
    [{ protocol: 256 }, /protocol/],
    [{ zone: -1 }, /zone/],
    [{ original: [original[0], original[1], 2 ** 32] }, /ports are no word/],
    [{ reply: [original[0], new Uint8Array(5), 1] }, /no address/],
    [{ reply: six }, /two families/],
    [{ protocol: 1, original: [original[0], original[1], 0xff00], words: [] }, /nothing answers it/],
    [{ counters: [1, 2, 3, NaN] }, /counts what is no number/],
    [{ words: [...words.slice(1), -1] }, /no word/],
    [{ words: [2_001] }, /no datagrams do/, udp],
    [{ protocol: 47, words: [1] }, /more than its protocol/],
    [
      { said: { kind: "tls", name: "a", start: 0, bytes: new Uint8Array(0) }, words: [1] },
      /only TCP does/,
      udp,
    ],
  ];
  for (const [part, why, of = flow!] of wrong) expect(faultOf({ ...of, ...part }), `${why}`).toMatch(why);
});
