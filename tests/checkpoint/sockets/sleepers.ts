import type { Prng } from "../../../base/random.ts";
import { writeSocketImage } from "../../../checkpoint/sockets/socket_image.ts";
import { FileStore, type FileStoreOptions } from "../../../checkpoint/store/file_store.ts";
import type { Location } from "../../../checkpoint/store/store.ts";
import { freezeTcb } from "../../../net/tcp/freeze.ts";
import { type FrozenTcb, frozenTcbFields } from "../../../net/tcp/frozen_tcb.ts";
import { SleepyPeer } from "../../net/wake/sleepy_peer.ts";

const open = new SleepyPeer();
open.open();
open.pass(1_000);
const base = freezeTcb(open.tcb, open.nowMs) as unknown[];
const place = (name: string): number => frozenTcbFields.indexOf(name);

/** A frozen connection of 10.7.0.1:7 and its peer number `index`, with some of what connections may have. */
export function frozenPeer(index: number, prng: Prng): FrozenTcb {
  const tcb = [...base];
  const set = (name: string, value: unknown): void => void (tcb[place(name)] = value);
  const some = (): Uint8Array =>
    prng.chance(0.2) ? new Uint8Array(prng.below(300)).fill(index) : new Uint8Array(0);
  set("localAddress", 0x0a07_0001);
  set("localPort", 7);
  set("remoteAddress", 0x0a09_0000 + (index >> 12) + 1);
  set("remotePort", 20_000 + (index & 0xfff));
  if (prng.chance(0.1)) {
    set("localAddress", ipv6(1));
    set("remoteAddress", ipv6(2));
  }
  set("state", prng.pick([3, 3, 3, 6]));
  set("rcvNxt", prng.below(2 ** 32));
  set("sendQueue", some());
  set("receiveQueue", some());
  if (prng.chance(0.1)) set("ahead", [[prng.between(1, 9), new Uint8Array(5)]]);
  return tcb as FrozenTcb;
}

function ipv6(last: number): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set([0x20, 0x01, 0x0d, 0xb8]);
  bytes[15] = last;
  return bytes;
}

/** The image of `frozenPeer`, with an attachment now and then. */
export function peerImage(index: number, prng: Prng): Uint8Array {
  return writeSocketImage(frozenPeer(index, prng), prng.pick([undefined, { index }, "text", [1, 2, 3]]));
}

/** A store with live and dead images over several segments; where the live ones lie, by index. */
export async function fillStore(
  folder: string,
  prng: Prng,
  count: number,
  options: FileStoreOptions = { segmentBytes: 8_000 },
): Promise<Map<number, Location>> {
  await using store = await FileStore.open(folder, { entropy: prng, ...options });
  const live = new Map<number, Location>();
  for (let index = 0; index < count;) {
    const some = Math.min(count - index, prng.between(1, 8));
    const { locations, durable } = store.append(
      Array.from({ length: some }, (_, at) => peerImage(index + at, prng)),
    );
    for (const location of locations) live.set(index++, location);
    if (prng.chance(0.3)) await durable;
    const gone = [...live].filter(() => prng.chance(0.05));
    if (gone.length > 0) store.remove(gone.map(([, location]) => location));
    for (const [index] of gone) live.delete(index);
  }
  return live;
}
