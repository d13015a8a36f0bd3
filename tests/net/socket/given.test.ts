import { expect, test } from "vitest";
import { patterned, readAll, refusal, SERVER, settled, virtualPair, writeAll } from "./world.ts";

test("a connection that is over leaves its TCB to the next one, which whoever has kept the old one's object cannot reach", async () => {
  const { server, client, clock } = virtualPair({ tcp: { timeWaitMs: 10 } }, { tcp: { timeWaitMs: 10 } });
  const listener = server.listen({ port: 80 });
  const open = async () => {
    const accepted = listener.accept();
    const there = await settled(clock, client.connect({ hostname: SERVER, port: 80 }));
    return { there, here: await settled(clock, accepted) };
  };
  const first = await open();
  first.here.attachment = "first";
  await settled(clock, writeAll(first.there, patterned(5_000)));
  await settled(clock, first.there.closeWrite());
  expect(await settled(clock, readAll(first.here))).toEqual(patterned(5_000));
  await settled(clock, first.here.closeWrite());
  expect(await settled(clock, first.there.read(new Uint8Array(1)))).toBeNull();
  await clock.runUntil(() => server.stack.tcp.left === 1 && client.stack.tcp.left === 1, 1_000);
  const second = await open();
  expect([server.stack.tcp.left, client.stack.tcp.left]).toEqual([0, 0]);
  expect(second.here.attachment).toBeUndefined();
  const written = settled(clock, writeAll(second.there, patterned(3_000, 1)));
  expect(await refusal(first.there.write(new Uint8Array(10)))).toContain("Broken pipe");
  expect(await refusal(first.here.write(new Uint8Array(10)))).toContain("Broken pipe");
  expect(first.here.attachment).toBe("first");
  first.here.setNoDelay();
  first.here.close();
  first.there.close();
  await written;
  await settled(clock, second.there.closeWrite());
  expect(await settled(clock, readAll(second.here))).toEqual(patterned(3_000, 1));
});
