import { expect, test } from "vitest";
import {
  ICMP_DESTINATIONS_MAX,
  ICMP_ERRORS_BURST,
  ICMP_ERRORS_BURST_EACH,
  IcmpLimits,
} from "../../../net/ip/icmp_limits.ts";

/** How many of `count` attempts to send to `key` are allowed. */
function allowed(limits: IcmpLimits, key: number, count: number, nowMs: number, eachLimited = true): number {
  let sum = 0;
  for (let at = 0; at < count; at++) sum += Number(limits.allow(key, eachLimited, nowMs));
  return sum;
}

test("one destination gets six errors at once and one a second, whatever it asks for (RFC 1812 section 4.3.2.8)", () => {
  const limits = new IcmpLimits();
  expect(allowed(limits, 1, 100, 5_000)).toBe(ICMP_ERRORS_BURST_EACH);
  expect(allowed(limits, 1, 100, 5_999)).toBe(0);
  expect(allowed(limits, 1, 100, 6_000)).toBe(1);
  expect(allowed(limits, 1, 100, 9_500)).toBe(3);
  expect(allowed(limits, 1, 100, 100_000)).toBe(ICMP_ERRORS_BURST_EACH);
  expect(allowed(limits, 2, 100, 100_000)).toBe(ICMP_ERRORS_BURST_EACH); // others have their own
});

test("all destinations together get fifty at once and a thousand a second", () => {
  const limits = new IcmpLimits();
  let sum = 0;
  for (let key = 0; key < 100; key++) sum += allowed(limits, key, 1, 5_000);
  expect(sum).toBe(ICMP_ERRORS_BURST);
  for (let key = 100; key < 200; key++) sum += allowed(limits, key, 1, 5_010);
  expect(sum).toBe(ICMP_ERRORS_BURST + 10);
});

test("what path MTU discovery needs is limited for all together only", () => {
  const limits = new IcmpLimits();
  expect(allowed(limits, 1, 100, 5_000, false)).toBe(ICMP_ERRORS_BURST);
});

test("4,096 destinations are remembered; the first is forgotten for the next", () => {
  const limits = new IcmpLimits();
  let nowMs = 5_000;
  expect(allowed(limits, 0, 10, nowMs)).toBe(6);
  for (let key = 1; key < ICMP_DESTINATIONS_MAX; key++) allowed(limits, key, 1, nowMs);
  nowMs += 999; // enough for all, not for one
  expect(allowed(limits, 0, 10, nowMs)).toBe(0);
  allowed(limits, ICMP_DESTINATIONS_MAX, 1, nowMs);
  expect(allowed(limits, 0, 10, nowMs)).toBe(6);
});
