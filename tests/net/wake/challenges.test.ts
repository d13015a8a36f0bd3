import { expect, test } from "vitest";
import { DEFAULT_TCP_CONFIG } from "../../../net/tcp/config.ts";
import { Tcb } from "../../../net/tcp/tcb.ts";
import type { Tcp } from "../../../net/tcp/tcp.ts";
import { SleepingChallenges } from "../../../net/wake/challenges.ts";

const WITHIN_MS = DEFAULT_TCP_CONFIG.challengeAckMs;
const RECENT_MAX = 65_536;

function anyTcp(mayAll = true): Tcp {
  const counters = { challengeAck: 0, ackSkippedChallenge: 0 };
  return { config: DEFAULT_TCP_CONFIG, challenges: { take: () => mayAll }, counters } as never;
}

function tcbThatChallenged(atMs: number): Tcb {
  const tcb = new Tcb(0);
  tcb.challengeAtMs = atMs;
  return tcb;
}

test("a sleeper sends one challenge ACK in half a second, whatever others do (RFC 5961 section 7)", () => {
  const challenges = new SleepingChallenges();
  const tcp = anyTcp();
  const times = [0, 1, WITHIN_MS - 1, WITHIN_MS, WITHIN_MS + 1, 2 * WITHIN_MS];
  expect(times.map((ms) => challenges.take(tcp, 7, 1_000 + ms))).toEqual([
    true,
    false,
    false,
    true,
    false,
    true,
  ]);
  expect(challenges.take(tcp, 8, 1_000 + 2 * WITHIN_MS)).toBe(true);
  expect([tcp.counters.challengeAck, tcp.counters.ackSkippedChallenge]).toEqual([4, 3]);
});

test("what the limit of all connections refuses counts for the one that asked, as awake", () => {
  const challenges = new SleepingChallenges();
  expect(challenges.take(anyTcp(false), 7, 1_000)).toBe(false);
  expect(challenges.take(anyTcp(), 7, 1_001)).toBe(false);
  expect(challenges.take(anyTcp(), 7, 1_000 + WITHIN_MS)).toBe(true);
});

test("the time goes into sleep with a connection and comes back with it, and never to the record's next one", () => {
  const challenges = new SleepingChallenges();
  const tcp = anyTcp();
  const tcb = tcbThatChallenged(5_000);
  challenges.add(7, tcb, WITHIN_MS);
  expect(challenges.take(tcp, 7, 5_001)).toBe(false);
  const thawed = new Tcb(0);
  challenges.wake(7, thawed);
  expect(thawed.challengeAtMs).toBe(5_000);
  challenges.wake(7, thawed);
  expect(challenges.take(tcp, 7, 5_002)).toBe(true);
  challenges.add(7, new Tcb(0), WITHIN_MS);
  expect(challenges.take(tcp, 7, 5_003)).toBe(true);
});

test("who has not sent one for half a second costs nothing", () => {
  const challenges = new SleepingChallenges();
  for (let record = 0; record < 1_000; record++) challenges.take(anyTcp(), record, record);
  expect(challenges.size).toBe(WITHIN_MS);
  challenges.add(2_000, tcbThatChallenged(10), WITHIN_MS);
  expect(challenges.size).toBe(WITHIN_MS);
  challenges.take(anyTcp(), 3_000, 10_000);
  expect(challenges.size).toBe(1);
});

test("so many are remembered, and above that nobody is challenged until the first are forgotten", () => {
  const challenges = new SleepingChallenges();
  const tcp = anyTcp();
  for (let record = 0; record < RECENT_MAX; record++) {
    if (!challenges.take(tcp, record, 1_000)) expect.fail(`record ${record}`);
  }
  expect(challenges.take(tcp, RECENT_MAX, 1_001)).toBe(false);
  challenges.add(RECENT_MAX, tcbThatChallenged(1_001), WITHIN_MS);
  expect(challenges.size).toBe(RECENT_MAX);
  expect(challenges.take(tcp, RECENT_MAX, 1_000 + WITHIN_MS)).toBe(true);
  expect(challenges.size).toBe(1);
});

test("a clock that is set back keeps each one's limit, and holds up nobody else", () => {
  const challenges = new SleepingChallenges();
  const tcp = anyTcp();
  expect(challenges.take(tcp, 7, 1e9)).toBe(true);
  expect(challenges.take(tcp, 7, 1_000)).toBe(false); // as awake: the last one lies ahead
  expect(challenges.take(tcp, 8, 1_000)).toBe(true);
  expect(challenges.take(tcp, 8, 1_001)).toBe(false);
  for (let record = 100; record < 100 + RECENT_MAX; record++) challenges.take(tcp, record, 1_002);
  expect(challenges.take(tcp, 9, 1_002)).toBe(false); // full of those of now
  expect(challenges.take(tcp, 9, 1_002 + WITHIN_MS)).toBe(true);
  expect(challenges.size).toBe(1);
});
