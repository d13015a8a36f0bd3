import fc from "fast-check";
import { test } from "vitest";
import type { TcpConfig } from "../../net/tcp/config.ts";
import { type Side, StreamModel, StreamPair } from "./stream_world.ts";

const RUNS = 150;
const SEED = 20_261_129;

type StreamCommand = fc.Command<StreamModel, StreamPair>;

/** A command out of its name and what it does; what it may not do at this point is left out. */
function command(
  name: string,
  run: (model: StreamModel, real: StreamPair) => void,
  may: (model: Readonly<StreamModel>) => boolean = () => true,
): StreamCommand {
  return { check: may, run, toString: () => name };
}

const side = fc.constantFrom<Side>(0, 1);
const some = fc.integer({ min: 1, max: 8 });

const commands: fc.Arbitrary<StreamCommand>[] = [
  fc.tuple(side, fc.constantFrom(1, 100, 1_460, 5_000, 40_000)).map(([from, count]) =>
    command(
      `${from} writes ${count}`,
      (model, real) => real.write(from, model, count),
      (model) => !model.finished[from],
    )
  ),
  fc.tuple(side, fc.constantFrom(1, 1_000, 100_000)).map(([to, count]) =>
    command(`${to} reads ${count}`, (model, real) => void real.read(to, model, count))
  ),
  fc.tuple(side, some).map(([to, count]) =>
    command(`${count} arrive at ${to}`, (_, real) => real.deliver(to, count))
  ),
  side.map((to) => command(`all arrive at ${to}`, (_, real) => real.deliver(to, Infinity))),
  fc.constant(command("all arrive", (_, real) => {
    real.deliver(1, Infinity);
    real.deliver(0, Infinity);
  })),
  fc.tuple(side, fc.nat(9), some).map(([to, at, count]) =>
    command(`${count} to ${to} from ${at} on are lost`, (_, real) => void real.wire[to].splice(at, count))
  ),
  // Several holes at once.
  fc.tuple(side, fc.integer({ min: 2, max: 4 })).map(([to, each]) =>
    command(`every ${each}th to ${to} is lost`, (_, real) => {
      const kept = real.wire[to].filter((_, at) => at % each !== 0);
      real.wire[to].splice(0, Infinity, ...kept);
    })
  ),
  fc.tuple(side, fc.nat(9), fc.nat(9)).map(([to, from, at]) =>
    command(`packet ${from} to ${to} comes at ${at}`, (_, real) => {
      const moved = real.wire[to].splice(from, 1);
      real.wire[to].splice(at, 0, ...moved);
    })
  ),
  fc.tuple(side, fc.nat(9)).map(([to, at]) =>
    command(`packet ${at} to ${to} comes twice`, (_, real) => {
      real.wire[to].push(...real.wire[to].slice(at, at + 1).map((packet) => packet.slice()));
    })
  ),
  fc.tuple(side, fc.nat(9), fc.nat(10_000)).map(([to, at, bit]) =>
    command(`packet ${at} to ${to} is damaged`, (_, real) => {
      const packet = real.wire[to][at];
      if (packet !== undefined) packet[(bit >> 3) % packet.length]! ^= 1 << (bit & 7);
    })
  ),
  fc.constantFrom(1, 20, 45, 250, 1_500, 10_000).map((ms) =>
    command(`${ms} ms pass`, (_, real) => real.pass(ms))
  ),
  side.map((who) => command(`${who} sleeps and wakes`, (_, real) => real.nap(who))),
  side.map((from) =>
    command(`${from} finishes`, (model, real) => real.finish(from, model), (model) => !model.finished[from])
  ),
];

const config: fc.Arbitrary<Partial<TcpConfig>> = fc.record({
  timestamps: fc.boolean(),
  sack: fc.boolean(),
  congestionControl: fc.constantFrom("cubic" as const, "newreno" as const),
  ecn: fc.constantFrom(0, 1, 3),
  frto: fc.boolean(),
  mtuProbing: fc.constantFrom(0, 2),
  receiveBufferBytes: fc.constantFrom(4_000, 131_072),
  sendBufferBytes: fc.constantFrom(5_000, 262_144),
});

test(
  "whatever the wire does and whoever sleeps, a connection is two streams: in order, once, then the end",
  () => {
    fc.assert(
      fc.property(
        config,
        config,
        fc.constantFrom(576, 1_500),
        fc.commands(commands, { maxCommands: 80, size: "max" }),
        (a, b, mtu, sequence) => {
          const model = new StreamModel();
          const real = new StreamPair([a, b], mtu);
          fc.modelRun(() => ({ model, real }), sequence);
          real.calm(model);
        },
      ),
      { seed: SEED, numRuns: RUNS },
    );
  },
  120_000,
);
