import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { Slab } from "../../../base/slab.ts";
import { reconnect, ReconnectingLink } from "../../../net/link/reconnecting.ts";
import type { Link } from "../../../net/link/link.ts";
import { pipe } from "../../../net/link/pipe.ts";

/** Notes what a link delivers: first bytes of frames, "." for a flush, "closed". */
function listen(link: Link): string[] {
  const heard: string[] = [];
  link.open({
    receive: (slab, start) => void heard.push(`${slab.bytes[start]}`),
    flush: () => void heard.push("."),
    closed: () => void heard.push("closed"),
  });
  return heard;
}

function send(link: Link, byte: number): boolean {
  const sent = link.send(new Slab(new Uint8Array(60).fill(byte)), 0, 60);
  link.flush();
  return sent;
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await setImmediate();
}

test("ReconnectingLink carries frames over whatever is attached, and loses them in between", async () => {
  let lost = 0;
  const link = new ReconnectingLink({ lost: () => lost++ });
  expect(send(link, 1)).toBe(false); // nothing attached
  const [ours, theirs] = pipe();
  const heardThere = listen(theirs);
  link.attach(ours); // before `open`
  const heard = listen(link);
  expect(send(link, 2)).toBe(true);
  send(theirs, 3);
  await settle();
  expect(heardThere).toEqual(["2", "."]);
  expect(heard).toEqual(["3", "."]);
  theirs.close();
  await settle();
  expect(lost).toBe(1);
  expect(send(link, 4)).toBe(false);
  const [oursAgain, theirsAgain] = pipe();
  const heardAgain = listen(theirsAgain);
  link.attach(oursAgain);
  expect(send(link, 5)).toBe(true);
  send(theirsAgain, 6);
  await settle();
  expect(heardAgain).toEqual(["5", "."]);
  expect(heard).toEqual(["3", ".", "6", "."]);
  expect(link.counters).toMatchObject({
    framesIn: 2,
    framesOut: 2,
    bytesIn: 120,
    bytesOut: 120,
    dropsOut: 2,
  });
});

test("ReconnectingLink does not miss what it let go of, and is closed once", async () => {
  let lost = 0;
  const link = new ReconnectingLink({ lost: () => lost++ });
  const heard = listen(link);
  const [first, firstFar] = pipe();
  const [second, secondFar] = pipe();
  listen(firstFar);
  const heardSecond = listen(secondFar);
  link.attach(first);
  link.attach(second); // `first` is closed, which is no loss
  await settle();
  expect(lost).toBe(0);
  expect(send(link, 1)).toBe(true);
  await settle();
  expect(heardSecond).toEqual(["1", "."]);
  link.close();
  link.close();
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(heard).toEqual(["closed"]);
  expect(heardSecond.at(-1)).toBe("closed");
  const [late, lateFar] = pipe();
  const heardLate = listen(lateFar);
  link.attach(late); // somebody connected meanwhile
  await settle();
  expect(heardLate).toEqual(["closed"]);
  expect({ lost, sent: send(link, 2) }).toEqual({ lost: 0, sent: false });
});

test("ReconnectingLink's close() is over when what carries it is free, and what goes with it", async () => {
  const free: (() => void)[] = [];
  const slow = (): Promise<void> => new Promise((resolve) => free.push(resolve));
  const link = new ReconnectingLink({ end: slow });
  listen(link);
  const [carrier] = pipe();
  link.attach(Object.assign(Object.create(carrier) as Link, { open: () => {}, close: slow }));
  const over: string[] = [];
  void link.close().then(() => over.push("first"));
  void link.close().then(() => over.push("second"));
  await settle();
  expect([free.length, over]).toEqual([2, []]);
  free[0]!();
  await settle();
  expect(over).toEqual([]);
  free[1]!();
  await settle();
  expect(over).toEqual(["first", "second"]);
});

test("reconnect() tries until somebody is there again, and stops when it is closed", async () => {
  const far: Link[] = [];
  let failures = 2;
  const link = await reconnect(() => {
    if (far.length > 0 && failures-- > 0) return Promise.reject(new Error("nobody there"));
    const [ours, theirs] = pipe();
    listen(theirs);
    far.push(theirs);
    return Promise.resolve(ours);
  });
  listen(link);
  far[0]!.close();
  while (far.length < 2 || link.attached < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(failures).toBe(-1);
  expect(send(link, 1)).toBe(true);
  link.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(far.length).toBe(2);
});
