import { expect, onTestFinished, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import type { Connection } from "../../../net/socket/connection.ts";
import type { Host } from "../../../net/socket/host.ts";
import { ReadOffer, receiveOffered, returnOffered } from "../../../net/tcp/offer.ts";
import { Tcb } from "../../../net/tcp/tcb.ts";
import { drawSeed } from "../../support/seed.ts";
import { concat, difference, patterned, readAll, SERVER, settled, virtualPair, writeAll } from "./world.ts";

const SEED = drawSeed("DIRECT_SEED", 1_000_000);
const TRAINS = { medium: "ip", offloads: true } as const;

/** How many bytes have come into offered buffers of `host`, until the test ends. */
function countDirect(host: Host): () => number {
  const { calls } = host.stack;
  const { takeOffered } = calls;
  let direct = 0;
  calls.takeOffered = (tcp, tcb, offer) => {
    const count = takeOffered(tcp, tcb, offer);
    direct += count;
    return count;
  };
  onTestFinished(() => void (calls.takeOffered = takeOffered));
  return () => direct;
}

test("data that somebody waits for goes into the buffer of who reads, without the receive queue between", async () => {
  const { server, client, clock } = virtualPair({}, {}, TRAINS);
  const direct = countDirect(server);
  const accepted = server.listen({ port: 80 }).accept();
  const there = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const here = await settled(clock, accepted);
  const buffer = new Uint8Array(100_000);
  const reading = here.read(buffer);
  const bytes = patterned(10_000);
  await settled(clock, writeAll(there, bytes));
  const count = await settled(clock, reading);
  expect(difference(buffer.subarray(0, count!), bytes.subarray(0, count!))).toBe(-1);
  expect(count).toBeGreaterThan(4_096);
  expect(direct()).toBe(count);
});

test(`whoever reads, however much at a time, whatever is lost on the way: all bytes, once, in order (seed ${SEED})`, async () => {
  const prng = new Prng(SEED);
  let total = 0;
  for (let round = 0; round < 12; round++) {
    const { server, client, clock } = virtualPair({}, {}, { ...TRAINS, queueMax: prng.pick([2, 8, 8_192]) });
    const direct = countDirect(server);
    const handlers = round % 2 === 0;
    const bytes = patterned(400_000 + prng.below(400_000), round);
    const parts: Uint8Array[] = [];
    let ended = false;
    if (handlers) {
      const paused: Connection[] = [];
      server.serve({
        port: 80,
        data: (connection, part) => {
          parts.push(part.slice());
          if (prng.below(4) > 0) return;
          connection.pause();
          paused.push(connection);
          clock.at(clock.nowMs() + prng.below(20), () => paused.pop()?.resume());
        },
        end: (connection) => {
          ended = true;
          connection.end();
        },
      });
    }
    const accepted = handlers ? undefined : server.listen({ port: 80 }).accept();
    const there = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
    const here = accepted === undefined ? undefined : await settled(clock, accepted);
    const written = (async () => {
      for (let at = 0; at < bytes.length;) {
        const end = at + 1 + prng.below(prng.pick([10, 5_000, 200_000]));
        await writeAll(there, bytes.subarray(at, end));
        at = Math.min(end, bytes.length);
      }
      await there.closeWrite();
    })();
    if (here === undefined) await clock.runUntil(() => ended);
    else {
      const size = prng.pick([100, 5_000, 70_000, 300_000]);
      parts.push(await settled(clock, readAll(here, size)));
    }
    await settled(clock, written);
    expect(difference(concat(parts), bytes), `round ${round}`).toBe(-1);
    total += direct();
  }
  expect(total).toBeGreaterThan(0); // of some worlds nothing is: small writes, small buffers, holes
});

test("a reader who is told that it closes has the rest as unread: the peer is told by a reset", async () => {
  const { server, client, clock } = virtualPair({}, {}, TRAINS);
  const accepted = server.listen({ port: 80 }).accept();
  const there = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const here = await settled(clock, accepted);
  const reading = here.read(new Uint8Array(100_000));
  const refused = expect(reading).rejects.toThrow("operation canceled");
  const [tcb] = server.stack.tcp.tcbs();
  const { calls } = server.stack;
  const { offer } = tcb!;
  const packet = new Slab(patterned(5_000)); // as if it had come in this very turn
  expect(receiveOffered(server.stack.tcp, tcb!, offer!, packet, 0, 5_000)).toBe(5_000);
  calls.close(server.stack.tcp, tcb!, clock.nowMs());
  here.close();
  await refused;
  server.kick();
  await expect(settled(clock, there.read(new Uint8Array(1)))).rejects.toThrow(/reset/i);
});

test("a buffer that is given away while its reader waits takes nothing, and nothing is lost", async () => {
  const { server, client, clock } = virtualPair({}, {}, TRAINS);
  const accepted = server.listen({ port: 80 }).accept();
  const there = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
  const here = await settled(clock, accepted);
  const buffer = new Uint8Array(100_000);
  const reading = here.read(buffer);
  structuredClone(buffer, { transfer: [buffer.buffer] });
  const bytes = patterned(10_000);
  await settled(clock, writeAll(there, bytes));
  await settled(clock, there.closeWrite());
  expect(difference(await settled(clock, readAll(here)), bytes)).toBe(-1);
  expect(await settled(clock, reading)).toBe(null);
});

test("what an offered buffer has got goes back in front of what is unread, and what came ahead of a hole stays there", () => {
  const tcp = { offerFull: false };
  const tcb = new Tcb(0);
  const offer = new ReadOffer(new Uint8Array(6_000));
  const bytes = patterned(20_000);
  const packet = new Slab(bytes);
  tcb.receiveQueue.append(bytes, 0, 1_000);
  expect(receiveOffered(tcp, tcb, offer, packet, 1_000, 9_000)).toBe(5_000);
  expect([offer.filled, tcb.receiveQueue.length]).toEqual([6_000, 0]);
  tcb.receiveQueue.append(bytes, 6_000, 9_000);
  tcb.receiveQueue.place(3_000 + 2_000, bytes, 11_000, 12_000);
  tcb.ahead.push(2_000, 3_000);
  expect(receiveOffered(tcp, tcb, offer, packet, 9_000, 14_000)).toBe(0);
  returnOffered(tcb, offer);
  expect([offer.filled, offer.holder]).toEqual([0, undefined]);
  expect(difference(tcb.receiveQueue.toBytes(), bytes.subarray(0, 9_000))).toBe(-1);
  expect(difference(tcb.receiveQueue.placed(11_000, 1_000), bytes.subarray(11_000, 12_000))).toBe(-1);
  expect(offer.take(tcb)).toBe(0);
});

test("one buffer that is offered for many has the data of one at a time; short data goes another way", () => {
  const tcp = { offerFull: false };
  const offer = new ReadOffer(new Uint8Array(10_000));
  const packet = new Slab(patterned(10_000));
  const first = new Tcb(0), second = new Tcb(1);
  expect(receiveOffered(tcp, first, offer, packet, 0, 4_095)).toBe(0);
  expect(receiveOffered(tcp, first, offer, packet, 0, 4_096)).toBe(4_096);
  expect(receiveOffered(tcp, second, offer, packet, 0, 4_096)).toBe(0);
  expect(offer.take(second)).toBe(0);
  expect(offer.take(first)).toBe(4_096);
  expect(receiveOffered(tcp, second, offer, packet, 0, 4_096)).toBe(4_096);
});
