import { VirtualClock } from "../../../base/clock.ts";
import { Prng } from "../../../base/random.ts";
import { impair } from "../../../net/link/impaired.ts";
import { pipe } from "../../../net/link/pipe.ts";
import { Host } from "../../../net/socket/host.ts";
import type { TcpConfig } from "../../../net/tcp/config.ts";

export interface Path {
  /** Of data packets, 0 to 1. */
  loss: number;
  rttMs: number;
  seed: number;
  rateBytesPerS?: number;
  /** Frames that wait before the rate's limit; by default a bandwidth-delay product. */
  queueFrames?: number;
  seconds?: number;
  tcp?: Partial<TcpConfig>;
}

export const RATE_BYTES_PER_S = 100e6 / 8;
const FRAME_BYTES = 1500;
export const MSS = 1448;

/** Bytes per second that one connection brings through a path, in virtual time, from its first byte on. */
export async function goodput(path: Path): Promise<number> {
  const { loss, rttMs, seed, rateBytesPerS = RATE_BYTES_PER_S, seconds = 10, tcp = {} } = path;
  const clock = new VirtualClock();
  const product = (rateBytesPerS * rttMs) / 1000 / FRAME_BYTES;
  const queueMax = Math.ceil(product / 2 + (path.queueFrames ?? Math.max(product, 64)));
  const [left, right] = pipe({ clock, medium: "ip", queueMax: 1e6 });
  const delayMs = rttMs / 2;
  const acks = impair(left, { clock, seed, delayMs, queueMax: 1e6, direction: "in" });
  const link = impair(acks, { clock, seed, loss, delayMs, rateBytesPerS, queueMax, direction: "out" });
  const sender = new Host({
    interfaces: [{ link }],
    addresses: [{ address: "10.0.0.1/24" }],
    clock,
    entropy: new Prng(seed),
    tcp,
  });
  const receiver = new Host({
    interfaces: [{ link: right }],
    addresses: [{ address: "10.0.0.2/24" }],
    clock,
    entropy: new Prng(seed + 1),
    tcp,
  });
  let count = 0;
  let untilMs = Infinity;
  receiver.serve({
    port: 80,
    data(_, bytes) {
      if (untilMs === Infinity) untilMs = clock.nowMs() + seconds * 1000;
      if (clock.nowMs() <= untilMs) count += bytes.length;
    },
  });
  const pour = async (): Promise<void> => {
    const conn = await sender.connect({ hostname: "10.0.0.2", port: 80 });
    const chunk = new Uint8Array(65_536);
    try {
      for (;;) await conn.write(chunk);
    } catch {
      // the test is over
    }
  };
  void pour();
  await clock.runUntil(() => clock.nowMs() > untilMs, 3_600_000);
  sender.close();
  receiver.close();
  return count / seconds;
}

/**
 * What theory expects of a sender whose packets are lost at random: the rate of the link, or the larger of CUBIC's
 * and Reno's average windows (RFC 9438 sections 5.1 and 5.2; RFC 3448's simple form) per round trip.
 */
export function theory(loss: number, rttMs: number, rateBytesPerS = RATE_BYTES_PER_S): number {
  const limit = rateBytesPerS * MSS / FRAME_BYTES;
  if (loss === 0) return limit;
  const rttS = rttMs / 1000;
  const cubicSegments = (0.4 * 3.7 / (4 * 0.3)) ** 0.25 * (rttS ** 0.75 / loss ** 0.75);
  const renoSegments = Math.sqrt(1.5 / loss);
  return Math.min(limit, Math.max(cubicSegments, renoSegments) * MSS / rttS);
}
