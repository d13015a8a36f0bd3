import { expect, test } from "vitest";
import type { Alarm, Clock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { type Link, linkCounters, type LinkSink } from "../../../net/link/link.ts";
import { Host } from "../../../net/socket/host.ts";
import { readSegment } from "../tcp/checker.ts";

/** Time that may pass without anybody noticing, as when a process is stopped. */
class HandClock implements Clock {
  #nowMs = 1_700_000_000_000;
  #alarms: { deadlineMs: number; callback: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  at(deadlineMs: number, callback: () => void): Alarm {
    const alarm = { deadlineMs, callback };
    this.#alarms.push(alarm);
    return { cancel: () => void (this.#alarms = this.#alarms.filter((each) => each !== alarm)) };
  }

  /** Nothing runs meanwhile. */
  stop(ms: number): void {
    this.#nowMs += ms;
  }

  /** One round of timers, as an event loop does it. */
  round(): void {
    const due = this.#alarms.filter(({ deadlineMs }) => deadlineMs <= this.#nowMs);
    this.#alarms = this.#alarms.filter((each) => !due.includes(each));
    for (const { callback } of due) callback();
  }

  /** Time that passes as it should. */
  pass(ms: number): void {
    for (const endMs = this.#nowMs + ms; this.#nowMs < endMs; this.#nowMs++) this.round();
  }
}

/** A wire whose frames move when the test says so. */
class HandLink implements Link {
  readonly medium = "ip";
  readonly mtu = 1500;
  readonly counters = linkCounters();
  readonly sent: Uint8Array<ArrayBuffer>[] = [];
  sink!: LinkSink;

  open(sink: LinkSink): void {
    this.sink = sink;
  }
  send(slab: Slab, start: number, end: number): boolean {
    this.sent.push(slab.bytes.slice(start, end));
    return true;
  }
  flush(): void {}
  close(): void {}

  /** All that was sent arrives at `other`, as one batch. */
  deliverTo(other: HandLink): number {
    const frames = this.sent.splice(0);
    for (const frame of frames) other.sink.receive(new Slab(frame), 0, frame.length);
    if (frames.length > 0) other.sink.flush();
    return frames.length;
  }
}

function end(address: string, seed: number): { host: Host; link: HandLink; clock: HandClock } {
  const [link, clock] = [new HandLink(), new HandClock()];
  const options = { interfaces: [{ link }], addresses: [{ address: `${address}/24` }] };
  return { host: new Host({ ...options, clock, entropy: new Prng(seed) }), link, clock };
}

async function connected(): Promise<[ReturnType<typeof end>, ReturnType<typeof end>]> {
  const [a, b] = [end("10.0.0.1", 1), end("10.0.0.2", 2)];
  const accepting = b.host.listen({ port: 80 }).accept();
  const connecting = a.host.connect({ hostname: "10.0.0.2", port: 80 });
  for (let turn = 0; turn < 20; turn++) {
    await undefined;
    a.link.deliverTo(b.link);
    b.link.deliverTo(a.link);
  }
  const conn = await connecting;
  await accepting;
  await conn.write(new Uint8Array(500));
  await undefined;
  return [a, b];
}

const dataOf = (link: HandLink): number =>
  link.sent.filter((packet) => packet[9] === 6 && readSegment(packet).data.length > 0).length;

test("after a process was held up, what came meanwhile is read before timers are looked at: nothing is sent again", async () => {
  const [a, b] = await connected();
  expect(a.link.deliverTo(b.link)).toBe(1);
  b.clock.pass(100);
  expect(b.link.sent.length).toBe(1); // its ACK is on the way
  a.clock.stop(700);
  a.clock.round(); // the RTO was 200 ms
  expect(dataOf(a.link)).toBe(0);
  b.link.deliverTo(a.link);
  a.clock.pass(10_000);
  expect(dataOf(a.link)).toBe(0);
});

test("what is missing all the same is sent again at once, and however much arrives, timers do not wait for ever", async () => {
  const [a] = await connected();
  a.link.sent.length = 0; // lost
  a.clock.stop(700);
  a.clock.pass(10);
  expect(dataOf(a.link)).toBe(1);
  const [c, d] = await connected();
  c.link.sent.length = 0;
  c.clock.stop(700);
  for (let ms = 0; ms < 150; ms++) { // a flood, though not the answer
    await d.host.listenDatagram({ port: 1000 + ms, transport: "udp" }).send(new Uint8Array(1), {
      transport: "udp",
      hostname: "10.0.0.1",
      port: 9,
    });
    await undefined;
    d.link.deliverTo(c.link);
    if (ms === 50) expect(dataOf(c.link)).toBe(0);
    c.clock.pass(1);
  }
  expect(dataOf(c.link)).toBe(1);
});
