import { expect, test } from "vitest";
import { Prng } from "../../base/random.ts";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { earliestDeadlineMs } from "../../net/tcp/tcp.ts";
import { ADDRESSES, Pair, type PairOptions, receiveStream, sendStream } from "../net/stack/pair.ts";
import { MillisecondClock } from "./millisecond_clock.ts";
import { Napper } from "./napper.ts";

interface Life {
  readonly trace: string[];
  readonly naps: number;
  readonly napsInRecovery: number;
  readonly states: ReadonlySet<number>;
}

/** One exchange over a bad wire, with naps or without: every packet, when it left, byte for byte. */
async function live(options: PairOptions, bytes: [number, number], napChance: number): Promise<Life> {
  const clock = new MillisecondClock();
  const pair = new Pair({ ...options, clock });
  const sentBy: [string[], string[]] = [[], []];
  const nappers = pair.hosts.map(({ stack }, side) => {
    const napper = new Napper(stack, options.seed * 2 + side, napChance);
    const receive = stack.receive.bind(stack);
    stack.receive = (interfaceIndex, slab, start, end, nowMs) => {
      // A timer and a packet of one millisecond: the timer first, in both lives.
      if ([...stack.tcp.tcbs()].some((tcb) => earliestDeadlineMs(tcb) <= nowMs)) stack.poll(nowMs);
      if (napChance > 0) napper.napAll(nowMs);
      return receive(interfaceIndex, slab, start, end, nowMs);
    };
    const poll = stack.poll.bind(stack);
    stack.poll = (nowMs) => {
      if (napChance > 0) napper.napAll(nowMs);
      return poll(nowMs);
    };
    return napper;
  });
  const sent = pair.watcher.sent.bind(pair.watcher);
  pair.watcher.sent = (packet) => {
    sentBy[packet[15] === 1 ? 0 : 1].push(
      `${clock.nowMs()} ${[...packet.subarray(0, 72)].join(" ")} ... ${packet.length}`,
    );
    return sent(packet);
  };
  const [client, server] = pair.hosts;
  const prng = new Prng(options.seed);
  const listener = server.listen({ port: 80 });
  const [a, b] = await pair.finish(Promise.all([
    client.connect({ hostname: ADDRESSES[1], port: 80 }),
    listener.accept(),
  ]));
  const heard = receiveStream(b, new Prng(2));
  const record = options.seed % 2 === 0 ? undefined : (p: Uint8Array) => a.sendRecord(p);
  await pair.finish(Promise.all([
    receiveStream(a, new Prng(1)),
    heard,
    sendStream(a, bytes[0], new Prng(3), record),
    // Who answers when the other has ended is in CLOSE-WAIT meanwhile, and in LAST-ACK then.
    options.seed % 3 === 0 ? heard.then(() => sendStream(b, bytes[1], prng)) : sendStream(b, bytes[1], prng),
  ]));
  a.close();
  b.close();
  listener.close();
  await pair.end();
  return {
    // Which of two hosts sends first within a millisecond is the clock's affair.
    trace: sentBy.flat(),
    naps: nappers[0]!.naps + nappers[1]!.naps,
    napsInRecovery: nappers[0]!.napsInRecovery + nappers[1]!.napsInRecovery,
    states: new Set(nappers.flatMap(({ states }) => [...states])),
  };
}

const KINDS: [name: string, options: Partial<PairOptions>, tcp: Partial<TcpConfig>][] = [
  ["a clean wire", { delayMs: 10 }, {}],
  ["2 % loss", { delayMs: 10, loss: 0.02 }, {}],
  ["loss, reordering and duplicates", { delayMs: 20, loss: 0.05, reorder: 0.05, duplicate: 0.05 }, {}],
  ["10 % loss, without timestamps", { delayMs: 5, loss: 0.1, reorder: 0.1 }, { timestamps: false }],
];

test("SND.UNA, RTT, congestion, scoreboard, timers: naps at random change no packet", async () => {
  const states = new Set<number>();
  let naps = 0, napsInRecovery = 0;
  for (const [name, options, tcp] of KINDS) {
    for (let seed = 1; seed <= 6; seed++) {
      const world: PairOptions = { seed, ...options, tcp: [tcp, tcp] };
      // With as much each way both close at once, and CLOSING is met as well.
      const bytes: [number, number] = seed % 2 === 0 ? [300_000, 80_000] : [150_000, 150_000];
      const awake = await live(world, bytes, 0);
      const napping = await live(world, bytes, 0.4);
      const first = awake.trace.findIndex((packet, at) => packet !== napping.trace[at]);
      expect(first, `${name}, seed ${seed}: packet ${first}\n${awake.trace[first]}\n${napping.trace[first]}`)
        .toBe(
          -1,
        );
      expect(napping.trace.length).toBe(awake.trace.length);
      naps += napping.naps;
      napsInRecovery += napping.napsInRecovery;
      napping.states.forEach((state) => states.add(state));
    }
  }
  // The test is worth something only while it naps everywhere.
  expect(naps).toBeGreaterThan(1_000);
  expect(napsInRecovery).toBeGreaterThan(50);
  expect([...states].sort()).toEqual([3, 4, 5, 6, 7, 8, 9]);
}, 60_000);
