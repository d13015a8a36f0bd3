import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Player } from "../../../checkpoint/replay/player.ts";
import { ReplayReader } from "../../../checkpoint/replay/reader.ts";
import { Recorder } from "../../../checkpoint/replay/recorder.ts";
import { RecordedWorld } from "./recorded_world.ts";

const SEEDS = [1, 2, 3];

for (const seed of SEEDS) {
  test(`recording changes no packet, and each host's recording replays (seed ${seed})`, async () => {
    const plain = await new RecordedWorld({ seed, record: false }).run();
    const { packets, recordings } = await new RecordedWorld({ seed, record: true }).run();
    expect(packets.length).toBeGreaterThan(300);
    expect(packets.findIndex((packet, index) => packet !== plain.packets[index])).toBe(-1);
    expect(packets.length).toBe(plain.packets.length);
    expect([...recordings.keys()]).toEqual(["client", "server 1", "server 2"]);
    let framesOut = 0;
    for (const [name, bytes] of recordings) {
      const player = new Player(new ReplayReader(bytes));
      while (player.step());
      expect(player.difference?.message, name).toBe(undefined);
      framesOut += player.framesOut;
    }
    expect(framesOut).toBe(packets.length);
  });
}

test("a stack that is made otherwise is noticed at its first packet that differs, with both packets", async () => {
  const { recordings } = await new RecordedWorld({ seed: 5, record: true, bytes: 3_000 }).run();
  const bytes = recordings.get("client")!;
  const synOf = (packet: string): boolean => packet.includes("Flags [S]");
  for (const [tcp, shows] of [[{ sack: false }, "sackOK"], [{ receiveWindowScale: 3 }, "wscale"]] as const) {
    const player = new Player(new ReplayReader(bytes), { tcp });
    while (player.step());
    const { message, recorded, replayed, place } = player.difference!;
    expect(message).toContain("the stack sends another frame than recorded");
    expect(synOf(player.print(recorded!)) && synOf(player.print(replayed!)), message).toBe(true);
    expect(player.print(recorded!), message).toContain(shows);
    expect(player.print(replayed!)).not.toBe(player.print(recorded!));
    expect(message).toContain(`recorded: ${player.print(recorded!)}`);
    expect(message).toContain(`replayed: ${player.print(replayed!)}`);
    expect(place.step).toBe(player.steps);
    expect(player.step()).toBe(false);
  }
});

test("what the recording has and the stack does not do is a difference too", async () => {
  const { recordings } = await new RecordedWorld({ seed: 6, record: true, bytes: 3_000 }).run();
  const bytes = recordings.get("server 1")!;
  const silent = new Player(new ReplayReader(bytes), { tcp: { quickAcks: 0, delayedAckMs: 400 } });
  while (silent.step());
  expect(silent.difference?.message).toMatch(/where the recording has|another frame|returned .* recorded/);
  const soon = new Player(new ReplayReader(recordings.get("client")!), { tcp: { rtoInitialMs: 100 } });
  while (soon.step());
  expect(soon.difference?.message).toMatch(/returned .* recorded|where the recording has/);
});

test("a recorder records one stack", () => {
  const recorder = new Recorder();
  const options = { nowMs: 0, entropy: new Prng(1) };
  recorder.stack(options);
  expect(() => recorder.stack(options)).toThrow("A recorder records one stack");
});
