import { expect, test } from "vitest";
import { redateImages } from "../../checkpoint/redate.ts";
import { readSocketImage, writeSocketImage } from "../../checkpoint/sockets/socket_image.ts";
import { MemoryStore, RECORD_BYTES_MAX, StoreError } from "../../checkpoint/store/mod.ts";
import type { AppendOptions } from "../../checkpoint/store/store.ts";
import { Field, RecordState } from "../../net/connections/connection_map.ts";
import { freezeTcb } from "../../net/tcp/freeze.ts";
import { type FrozenTcb, frozenTcbFields } from "../../net/tcp/frozen_tcb.ts";
import { tcpSetKeepAlive } from "../../net/tcp/user.ts";
import { SleepTimers } from "../../net/wake/sleep_timers.ts";
import { Asleep, locationOfRecord } from "../../net/wake/slot.ts";
import { Summary, SUMMARY_WORDS } from "../../net/wake/summary.ts";
import { TAKEN_OVER_MS } from "../../net/wake/taken_over.ts";
import { SleepyPeer } from "../net/wake/sleepy_peer.ts";

const place = (name: string): number => frozenTcbFields.indexOf(name);
/** How far the clock is set back. */
const BACK_MS = 3_600_000;

/** An idle connection with keep-alive, of this peer's port and local address. */
function idle(peerPort = 4_000, localAddress = 0x0a00_0001): FrozenTcb {
  const peer = new SleepyPeer();
  peer.open();
  tcpSetKeepAlive(peer.stack.tcp, peer.tcb, true, peer.nowMs, 60_000, 5_000, 4);
  peer.pass(1_000);
  const frozen = freezeTcb(peer.tcb, peer.nowMs) as unknown[];
  return frozen.with(place("remotePort"), peerPort).with(place("localAddress"), localAddress) as FrozenTcb;
}

/** A process with some of a store's connections, whose clock was set back. */
class Later {
  readonly store: MemoryStore;
  readonly appended: AppendOptions[] = [];
  /** Appends that succeed before one is refused. */
  appends = Infinity;
  readonly peer = new SleepyPeer();
  readonly timers: SleepTimers;
  readonly locations: number[];
  readonly records: number[];
  readonly nowMs: number;

  constructor(
    frozen: readonly FrozenTcb[],
    attachments: readonly unknown[] = [],
    sync?: () => Promise<void>,
  ) {
    this.store = new MemoryStore(sync === undefined ? {} : { sync });
    this.nowMs = this.peer.nowMs = frozen[0]![0] - BACK_MS;
    this.timers = new SleepTimers(this.nowMs);
    const images = frozen.map((tcb, at) => writeSocketImage(tcb, attachments[at]));
    this.locations = [...this.store.append(images).locations];
    this.records = frozen.map((tcb, at) => {
      const { sleepers } = this.peer.stack;
      const { record, deadlineMs } = sleepers.adopt(tcb, this.locations[at]!, this.nowMs);
      if (deadlineMs < Infinity) this.timers.set(record, deadlineMs);
      return record;
    });
    const append = this.store.append.bind(this.store);
    this.store.append = (records, options = {}) => {
      if (this.appends-- <= 0) throw new StoreError("The disk is full");
      this.appended.push(options);
      return append(records, options);
    };
  }

  redate(locations = this.locations, attachmentOf: (at: number) => unknown = () => undefined) {
    return redateImages(this.store, this.peer.stack, this.timers, this.nowMs, locations, (location) => {
      const attachment = attachmentOf(this.locations.indexOf(location));
      const read = readSocketImage(this.store.read(location));
      return attachment === undefined ? read : { ...read, attachment };
    });
  }

  locationOf(at: number): number {
    return locationOfRecord(this.peer.stack.connections, this.records[at]!);
  }
}

test("an image from after the clock is replaced by one of now, whose timestamps are a day ahead of all that it gave", () => {
  const frozen = idle();
  const later = new Later([frozen], [{ user: "ada" }]);
  const [old] = later.locations;
  const { replaced, error } = later.redate();
  expect([[...replaced], error]).toEqual([[old], undefined]);
  const location = later.locationOf(0);
  expect(location).not.toBe(old);
  expect(() => later.store.read(old!)).toThrow(StoreError); // one entry: after a crash either of them is there
  expect(later.appended[0]!.supersedes).toEqual([old]);
  const { tcb, attachment } = readSocketImage(later.store.read(location));
  expect(attachment).toEqual({ user: "ada" });
  const changed = frozenTcbFields.filter((_, at) => String(tcb[at]) !== String(frozen[at]));
  expect(changed).toEqual(["frozenAtMs", "tsOffset"]);
  expect(tcb[0]).toBe(later.nowMs);
  const clock = (of: FrozenTcb, atMs: number): number => of[place("tsOffset")] as number + atMs;
  expect((clock(tcb, later.nowMs) - clock(frozen, frozen[0])) | 0).toBe(TAKEN_OVER_MS);
  // What it was stored with says the same.
  const summary = later.appended[0]!.summaries!;
  expect(summary.length).toBe(SUMMARY_WORDS);
  expect(summary[Summary.frozenAtS]).toBe(Math.ceil(later.nowMs / 1_000));
  expect(summary[Summary.tsOffset]).toBe((tcb[place("tsOffset")] as number) | 0);
});

test("a connection whose image is dated anew sleeps on, silent, by deadlines of the clock that there is", () => {
  const later = new Later([idle(), idle(4_001, 0x0a00_0009)]);
  later.timers.set(later.records[1]!, later.nowMs + 5);
  later.redate();
  const { connections } = later.peer.stack;
  for (const record of later.records) {
    expect(connections.state(record)).toBe(RecordState.asleep);
    expect(connections.get(record, Field.meta) & (Asleep.wakeOnAny | Asleep.wakeOnAll)).not.toBe(0);
  }
  // 59 s are left to the keep-alive; of an address that the host has not got nothing is asked.
  expect(later.timers.size).toBe(1);
  const due: number[] = [];
  later.timers.advance(later.nowMs + 58_990, (record) => void due.push(record));
  expect(due).toEqual([]);
  later.timers.advance(later.nowMs + 59_010, (record) => void due.push(record));
  expect(due).toEqual([later.records[0]]);
});

test("nothing may be said before the store has promised what it is dated", async () => {
  let promise = (): void => {};
  const later = new Later([idle()], [], () => new Promise((resolve) => promise = resolve));
  let durable = false;
  const settled = later.redate().durable.then(() => durable = true);
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(durable).toBe(false);
  promise(); // of the first append, which the process before has waited for
  await new Promise((resolve) => setTimeout(resolve, 5));
  promise();
  await settled;
});

test("when the store refuses, the rest stay as they were; what has been replaced stays replaced, and is named", () => {
  const count = 1_030; // more than a batch has
  const one = idle() as unknown[];
  const later = new Later(
    Array.from({ length: count }, (_, at) => one.with(place("remotePort"), 1_024 + at) as FrozenTcb),
  );
  later.appends = 1;
  const { replaced, error } = later.redate();
  expect(error).toBeInstanceOf(StoreError);
  expect([...replaced]).toEqual(later.locations.slice(0, 1_024));
  for (const [at, location] of later.locations.entries()) {
    expect(later.locationOf(at) === location, `${at}`).toBe(at >= 1_024);
    readSocketImage(later.store.read(later.locationOf(at)));
  }
});

test("large images go in batches of a few megabytes, and one that would not fit a record is left as it is", () => {
  const later = new Later([4_000, 4_001, 4_002, 4_003, 4_004].map((port) => idle(port)));
  const megabytes = [3, 2, RECORD_BYTES_MAX >> 20, 1, 1];
  const { replaced, error } = later.redate(later.locations, (at) => new Uint8Array(megabytes[at]! << 20));
  expect(error).toBeUndefined();
  expect(later.appended.map(({ supersedes }) => supersedes)).toEqual([
    later.locations.slice(0, 2),
    later.locations.slice(3),
  ]);
  expect(replaced).toEqual(new Set([0, 1, 3, 4].map((at) => later.locations[at]!)));
  expect(later.locationOf(2)).toBe(later.locations[2]);
});
