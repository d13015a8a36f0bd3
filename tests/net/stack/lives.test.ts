import { expect, test } from "vitest";
import { ringBytesLent } from "../../../base/ring.ts";
import { Prng } from "../../../base/random.ts";
import type { TcpConn } from "../../../net/socket/types.ts";
import { TcpState } from "../../../net/tcp/tcb.ts";
import { tcpClose, tcpConnect, tcpReceive, tcpSend } from "../../../net/tcp/user.ts";
import { parseIpv4 } from "../../../net/wire/address.ts";
import { ADDRESSES, Pair, receiveStream, sendStream } from "./pair.ts";

const keepAlive = { keepAliveIdleMs: 60_000, keepAliveIntervalMs: 10_000 };

/** One end's life: it talks, listens, falls silent or hangs up, and lets go in the end. */
async function live(conn: TcpConn, prng: Prng, pause: (ms: number) => Promise<void>): Promise<void> {
  conn.setKeepAlive(); // or whoever waits for a peer whose RST was lost would wait for ever
  let closed = false;
  const close = (): void => {
    if (!closed) conn.close();
    closed = true;
  };
  void pause(600_000).then(close); // applications that wait for each other
  try {
    switch (prng.below(7)) {
      case 0: // everything in order
        await Promise.all([sendStream(conn, prng.below(50_000), prng), receiveStream(conn, prng)]);
        break;
      case 1: // hangs up without reading
        await sendStream(conn, prng.below(5_000), prng);
        break;
      case 2: // reads late: the peer's window closes
        await pause(prng.below(30_000));
        await receiveStream(conn, prng);
        break;
      case 3: // half closes at once and listens
        await conn.closeWrite();
        await receiveStream(conn, prng);
        break;
      case 4: // hangs up at once
        break;
      case 5: // hangs up in the middle
        await conn.write(new Uint8Array(prng.below(20_000)));
        await conn.read(new Uint8Array(100));
        break;
      case 6: // says nothing for long
        await pause(prng.below(300_000));
        break;
    }
  } catch {
    // the other end hung up
  }
  if (prng.chance(0.2)) await pause(prng.below(100_000));
  close();
}

test("whatever both ends do on a bad wire, nothing is left of it and nobody keeps talking", async () => {
  const lentBefore = ringBytesLent();
  for (let seed = 1; seed <= 12; seed++) {
    const prng = new Prng(seed);
    const loss = prng.pick([0, 0.03, 0.15]);
    const pair = new Pair({
      seed,
      loss,
      reorder: loss,
      duplicate: loss,
      corrupt: loss / 3,
      medium: prng.pick(["ip", "ethernet"]),
      tcp: [
        { ...keepAlive, receiveBufferBytes: prng.pick([2_000, 1 << 20]), timestamps: prng.chance(0.5) },
        { ...keepAlive, receiveBufferBytes: prng.pick([2_000, 1 << 20]) },
      ],
    });
    const [client, server] = pair.hosts;
    const pause = (ms: number): Promise<void> =>
      new Promise((resolve) => void pair.clock.at(pair.clock.nowMs() + ms, resolve));
    const listener = server.listen({ port: 80 });
    const lives: Promise<void>[] = [];
    const accepting = (async () => {
      for await (const conn of listener) lives.push(live(conn, new Prng(prng.uint32()), pause));
    })();
    const count = 40;
    const opened = Array.from({ length: count }, async () => {
      await pause(prng.below(5_000));
      const conn = await client.connect({ hostname: ADDRESSES[1], port: 80 }).catch(() => undefined);
      if (conn !== undefined) await live(conn, new Prng(prng.uint32()), pause);
    });
    await pair.finish(Promise.all(opened), 7_200_000);
    await pair.finish(Promise.all(lives), 7_200_000);
    listener.close();
    await pair.finish(accepting);
    await pair.end().catch((error) => {
      const left = pair.hosts.map(({ stack }) =>
        [...stack.tcp.tcbs()].map(({ state, orphan }) => [state, orphan])
      );
      throw new Error(`Seed ${seed}, left: ${JSON.stringify(left)}`, { cause: error });
    });
    expect(pair.watcher.segments, `seed ${seed}`).toBeLessThan(count * 1_000);
    expect(ringBytesLent(), `seed ${seed}`).toBe(lentBefore);
  }
});

test("both ends open towards each other at once, and close at once (MUST-10)", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const pair = new Pair({ seed, loss: seed > 2 ? 0.1 : 0 });
    const [a, b] = pair.hosts.map(({ stack }) => stack);
    const [left, right] = ADDRESSES.map((address) => parseIpv4(address)!);
    const nowMs = pair.clock.nowMs();
    const tcbs = [
      tcpConnect(a!.tcp, left!, 7, right!, 7, nowMs)!,
      tcpConnect(b!.tcp, right!, 7, left!, 7, nowMs)!,
    ];
    for (const host of pair.hosts) host.turn();
    await pair.clock.runUntil(() => tcbs.every(({ state }) => state === TcpState.established), 600_000);
    expect(tcbs.every(({ state }) => state === TcpState.established), `seed ${seed}`).toBe(true);
    expect(pair.watcher.segments).toBeLessThan(seed > 2 ? 50 : 7);
    tcpSend(a!.tcp, tcbs[0]!, Uint8Array.of(1), 0, 1);
    for (const host of pair.hosts) host.turn();
    await pair.clock.runUntil(() => tcbs[1]!.receiveQueue.length === 1, 600_000);
    tcpReceive(b!.tcp, tcbs[1]!, new Uint8Array(1), 0, 1);
    tcpClose(a!.tcp, tcbs[0]!, pair.clock.nowMs());
    tcpClose(b!.tcp, tcbs[1]!, pair.clock.nowMs());
    for (const host of pair.hosts) host.turn();
    await pair.end();
  }
});
