import { expect, test } from "vitest";
import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";
import { Sent } from "../../../net/tcp/sent_queue.ts";
import { CaState, packetsInFlight, RetransmitTimer, type Tcb, TcpState } from "../../../net/tcp/tcb.ts";
import { ADDRESSES, Pair, type PairOptions, receiveStream, sendStream } from "./pair.ts";

/** What must hold of a sender between two packets, whatever the path does. */
function checkSender(tcb: Tcb): void {
  if (tcb.state < TcpState.established) return;
  const { sent } = tcb;
  let sacked = 0, lost = 0, retransmitted = 0, expected = tcb.sndUna;
  for (let place = 0; place < sent.length; place++) {
    const at = sent.slot(place);
    const flags = sent.flags[at]!;
    if (flags & Sent.sacked) sacked++;
    if (flags & Sent.lost) lost++;
    if (flags & Sent.retransmitted) retransmitted++;
    if (place === 0) assert(((sent.sequence[at]! - tcb.sndUna) | 0) <= 0, "The queue begins at SND.UNA");
    else assert(sent.sequence[at] === expected, "The queue has no holes");
    expected = sent.end[at]!;
    assert(((expected - tcb.sndUna) | 0) > 0, "What is acknowledged is gone");
  }
  assert(expected === tcb.sndMax, "The queue ends at SND.NXT");
  if (tcb.sackPermitted) assert(sacked === tcb.sackedOut, "sackedOut is the segments that are SACKed");
  assert(lost === tcb.lostOut && retransmitted === tcb.retransOut, "lostOut and retransOut are counts");
  assert(tcb.sackedOut >= 0 && tcb.sackedOut + tcb.lostOut <= sent.length, "Nothing is counted twice");
  assert(packetsInFlight(tcb) >= 0, "Less than nothing is in flight");
  assert(tcb.cwnd >= tcb.sndMss, "The window holds a segment");
  assert(sent.length === 0 || tcb.retransmitAtMs < Infinity, "Data in flight has a timer");
  assert(
    (tcb.retransmitAtMs < Infinity) === (tcb.retransmitTimer !== RetransmitTimer.none),
    "It is for something",
  );
}

/** Without SACK, three of ten segments lost are a matter of hours: each timeout is longer than the one before. */
const PATIENCE_MS = 86_400_000;

const WIRES: [name: string, options: Partial<PairOptions>][] = [
  ["1 % loss", { delayMs: 10, loss: 0.01 }],
  ["10 % loss", { delayMs: 10, loss: 0.1 }],
  ["30 % loss", { delayMs: 10, loss: 0.3 }],
  ["reordering", { delayMs: 10, reorder: 0.2 }],
  ["duplicates", { delayMs: 10, duplicate: 0.2 }],
  ["all of it", { delayMs: 10, loss: 0.05, reorder: 0.1, duplicate: 0.05, corrupt: 0.02 }],
];
const STACKS: [name: string, tcp: Partial<TcpConfig>][] = [
  ["as it is", {}],
  ["without timestamps", { timestamps: false }],
  ["without SACK", { sack: false }],
  ["bare New Reno", {
    sack: false,
    timestamps: false,
    tailLossProbe: false,
    frto: false,
    congestionControl: "newreno",
  }],
];

for (const [stack, tcp] of STACKS) {
  test(
    `${stack}: every byte arrives over every bad wire, and the counters stay true (RFC 6675, RFC 8985, RFC 6937)`,
    async () => {
      const met = new Set<number>();
      let broken: string | undefined;
      for (const [name, options] of WIRES) {
        for (let seed = 1; seed <= 3; seed++) {
          const pair = new Pair({ seed, ...options, tcp: [tcp, tcp] });
          for (const { stack } of pair.hosts) {
            const poll = stack.poll.bind(stack);
            stack.poll = (nowMs) => {
              const deadlineMs = poll(nowMs);
              for (const tcb of stack.tcp.tcbs()) {
                met.add(tcb.caState);
                try {
                  checkSender(tcb);
                } catch (error) { // in a turn of the host it would be nobody's
                  broken ??= `${name}, seed ${seed}: ${error}`;
                }
              }
              return deadlineMs;
            };
          }
          const [client, server] = pair.hosts;
          const listener = server.listen({ port: 80 });
          const [a, b] = await pair.finish(Promise.all([
            client.connect({ hostname: ADDRESSES[1], port: 80 }),
            listener.accept(),
          ]));
          const counts = await pair.finish(
            Promise.all([
              receiveStream(a, new Prng(seed)),
              receiveStream(b, new Prng(seed + 1)),
              sendStream(a, 150_000, new Prng(seed + 2)),
              sendStream(b, 60_000, new Prng(seed + 3)),
            ]),
            PATIENCE_MS,
          );
          expect(counts.slice(0, 2), `${name}, seed ${seed}`).toEqual([60_000, 150_000]);
          a.close();
          b.close();
          listener.close();
          await pair.end();
        }
      }
      expect(broken).toBe(undefined);
      // The test is worth something only while the sender gets into trouble.
      expect([...met].sort()).toEqual(
        [CaState.open, CaState.disorder, CaState.recovery, CaState.loss].sort(),
      );
    },
    60_000,
  );
}
