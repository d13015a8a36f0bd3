import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { DEFAULT_TCP_CONFIG } from "../../../net/tcp/config.ts";
import { freezeTcb, thawTcb } from "../../../net/tcp/freeze.ts";
import { Tcb } from "../../../net/tcp/tcb.ts";
import { resetTcb, resetUnfrozen } from "../../../net/tcp/tcb_reset.ts";
import { anyTcb, NOW_MS } from "./any_tcb.ts";

/** A TCB of which nothing is as in a new one. */
function usedTcb(seed: number): Tcb {
  const tcb = anyTcb(new Prng(seed));
  const fields = tcb as unknown as Record<string, unknown>;
  for (const [name, value] of Object.entries(new Tcb(0))) {
    if (["slot", "serial"].includes(name) || (typeof value === "object" && value !== null)) continue;
    if (fields[name] === value) fields[name] = typeof value === "boolean" ? !value : 4_711;
  }
  tcb.protocolState = [1];
  return tcb;
}

test("a TCB that is used again is as a new one, whatever it was before", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const tcb = usedTcb(seed);
    resetTcb(tcb);
    for (const queue of [tcb.sendQueue, tcb.receiveQueue]) expect(queue.capacity).toBe(0);
    expect(Object.keys(tcb)).toEqual(Object.keys(new Tcb(0)));
    expect(tcb).toEqual(new Tcb(0));
  }
});

test("a TCB that is used again for what is thawed is as a new one that is thawed", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const frozen = freezeTcb(anyTcb(new Prng(seed)), NOW_MS);
    const used = usedTcb(seed + 1_000), fresh = new Tcb(0);
    resetUnfrozen(used);
    for (const tcb of [used, fresh]) thawTcb(frozen, tcb, DEFAULT_TCP_CONFIG, NOW_MS + 5);
    const { durable, ...fields } = fresh; // what hangs together with that is told by its own numbers
    expect(used, `seed ${seed}`).toMatchObject(fields);
    expect(freezeTcb(used, NOW_MS + 5), `seed ${seed}`).toEqual(freezeTcb(fresh, NOW_MS + 5));
    expect(used.durable).toEqual(durable);
  }
});

test("a ring that has held much takes no more than a new one when it is used again", () => {
  const tcb = new Tcb(0);
  const bytes = new Uint8Array(100_000);
  for (const queue of [tcb.sendQueue, tcb.receiveQueue]) queue.append(bytes, 0, bytes.length);
  for (let segment = 0; segment < 1_000; segment++) tcb.sent.push(segment, segment + 1, 0, 0);
  resetTcb(tcb);
  const fresh = new Tcb(0);
  for (const each of [tcb, fresh]) {
    each.sendQueue.append(bytes, 0, 10);
    each.receiveQueue.append(bytes, 0, 10);
    each.sent.push(0, 1, 0, 0);
  }
  expect(tcb.sendQueue.capacity).toBe(fresh.sendQueue.capacity);
  expect(tcb.receiveQueue.capacity).toBe(fresh.receiveQueue.capacity);
  expect(tcb.sent.end.length).toBe(fresh.sent.end.length);
});
