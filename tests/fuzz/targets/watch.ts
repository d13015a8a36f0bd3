import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { Capture } from "../../../checkpoint/control/capture.ts";
import type { SleepingHost } from "../../../checkpoint/sleeping_host.ts";
import { StateWatch } from "../../../cli/replay/states.ts";
import { readPcapng } from "../../../net/link/pcapng_reader.ts";
import { Dice } from "../dice.ts";
import { makeStack } from "../make_stack.ts";
import { frames, mendPacket } from "../packets.ts";
import type { Target } from "../target.ts";

const START_MS = 1_700_000_000_000;

/** Any frames at a stack that is watched: each is captured once, with its bytes, and states change from what they were. */
function watch(input: Uint8Array<ArrayBuffer>): void {
  const dice = new Dice(input);
  const stack = makeStack({ nowMs: START_MS, entropy: new Prng(1), connectionsMax: 8 });
  const mac = { hi: 0x0200, lo: 0x0000_0002 };
  const outputs = (["ethernet", "ip"] as const).map((medium, index) => ({
    medium,
    mtu: 1_500,
    send: (slab: Slab, start: number, end: number) => (left(index, slab, start, end), true),
    flush: () => {},
  }));
  stack.addInterface({ name: "eth0", mac, link: outputs[0]! });
  stack.addInterface({ name: "tun0", link: outputs[1]! });
  stack.setRoutes({ addresses: [{ address: "192.0.2.2/24" }, { address: "2001:db8::2/64" }] });
  stack.tcp.listeners.add(0, 80, 4);
  const pieces: Uint8Array[] = [];
  let full = false;
  const sleeper = { on: () => sleeper, off: () => sleeper };
  const host = { stack, sleeper, clock: { nowMs: () => START_MS }, watchPackets: () => () => {} };
  const capture = new Capture(
    host as unknown as SleepingHost,
    (bytes) => void pieces.push(bytes.slice()),
    { ...dice.chance(128) ? { port: 80 } : {}, isFull: () => full },
  );
  let all = pieces.length > 0 && input[0]! < 128;
  const states = new StateWatch(stack);
  const last = new Map<string, string>();
  let seen = 0;
  function left(index: number, slab: Slab, start: number, end: number): void {
    seen++;
    capture.left(index, slab, start, end);
    states.touchFrame(slab.bytes.subarray(start, end), outputs[index]!.medium, false, index + 1);
  }
  while (!dice.done) {
    full = dice.chance(16); // nobody reads
    if (full) all = false;
    const index = dice.below(2);
    const frame = dice.chance(64) ? dice.take(dice.below(80)) : dice.pick(frames).slice();
    for (let changes = dice.below(4); changes > 0; changes--) frame[dice.byte() % frame.length] = dice.byte();
    const cut = dice.chance(32) ? dice.byte() % (frame.length + 1) : frame.length;
    if (!dice.chance(32)) mendPacket(frame.subarray(14, cut));
    const bytes = frame.slice(index === 0 ? 0 : Math.min(14, cut), cut);
    const slab = new Slab(bytes.slice());
    seen++;
    states.newStep();
    states.touchFrame(bytes, outputs[index]!.medium, true, index + 1);
    capture.arrived(index, slab, 0, bytes.length);
    capture.judged(stack.receive(index, slab, 0, bytes.length, START_MS));
    stack.poll(START_MS);
    for (const { connection, from, to } of states.changes()) {
      assert(
        from !== to && from === (last.get(connection) ?? "none"),
        `${connection}: from ${from} to ${to}`,
      );
      last.set(connection, to);
    }
  }
  capture.close();
  const file = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  pieces.reduce((at, piece) => (file.set(piece, at), at + piece.length), 0);
  const captured = [...readPcapng(file)].length;
  assert(all ? captured === seen : captured <= seen, `${captured} frames of ${seen} are captured`);
}

export const targets: readonly Target[] = [
  {
    name: "replay/watch",
    about: "any frames at a stack that is watched: captured once each, and states change from what they were",
    run: watch,
    seeds: () => [
      Uint8Array.from([0, ...frames.flatMap((_, at) => [0, 0, 0, at, 0, 0, 0])]),
      Uint8Array.from([255, ...frames.flatMap((_, at) => [0, 1, 0, at, 1, 30, 5, 0, 255])]),
    ],
    allocationMax: (length) => (1 << 25) + (1 << 14) * length,
    workMax: (length) => 20_000_000 + 200_000 * length,
  },
];
