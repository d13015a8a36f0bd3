import { assert } from "../../../base/assert.ts";
import { Prng } from "../../../base/random.ts";
import { type CborValue, encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { type Attached, takeQuiet } from "../../../checkpoint/sockets/decode_quiet.ts";
import { readSocketImage, SOCKET_VERSION } from "../../../checkpoint/sockets/socket_image.ts";
import { recordOf } from "../../../checkpoint/store/bare.ts";
import { AddressTable } from "../../../net/ip/address_table.ts";
import { DEFAULT_TCP_CONFIG } from "../../../net/tcp/config.ts";
import { thawTcb } from "../../../net/tcp/freeze.ts";
import { FrozenBatch } from "../../../net/tcp/frozen_batch.ts";
import { Tcb } from "../../../net/tcp/tcb.ts";
import { resetUnfrozen } from "../../../net/tcp/tcb_reset.ts";
import { frozenAddressIn, frozenKey, thawQuiet } from "../../../net/tcp/thaw_quiet.ts";
import { equalBytes, equalValues } from "../../fuzz/equal.ts";

const PLACES = 3;
const addresses = new AddressTable({ entropy: new Prng(1) });
const batch = new FrozenBatch(PLACES, 128); // all rows at their longest have 102

function encoded(attachment: unknown): Uint8Array {
  return attachment === undefined ? new Uint8Array(0) : encodeCbor(attachment as CborValue);
}

/**
 * What the short way of waking makes of an image, where it knows it, is what the long way makes of it: the attachment,
 * and a TCB field by field, also where another connection has left one.
 *
 * @param left A TCB that somebody has left; it is changed.
 * @returns Whether the short way knows it.
 * @throws {Error} When they differ, or the long way refuses what the short one has taken.
 */
export function quietTwin(bare: Uint8Array, nowMs: number, left: Tcb): boolean {
  const attached: Attached = { attachment: "what was there before" };
  // Among others, as in a log, and in a batch.
  const around = new Uint8Array(bare.length + 40).fill(0x17);
  around.set(bare, 20);
  batch.numbers.fill(-77);
  batch.cells.fill(-77);
  const end = 20 + bare.length;
  if (!takeQuiet(around, 20, end, SOCKET_VERSION, batch.select(1), attached)) return false;
  assert(
    batch.numbers.at(0) === -77 && batch.numbers.at(-1) === -77 && batch.cells.at(0) === -77 &&
      batch.cells.at(-1) === -77,
    "A connection keeps to its place in the batch",
  );
  const { tcb: frozen, attachment } = readSocketImage(recordOf(bare));
  equalBytes(encoded(attached.attachment), encoded(attachment), "what is attached");
  equalValues(frozenKey(batch), frozen.slice(0, 5), "the key");
  const slow = new Tcb(0), quick = new Tcb(0);
  let remote: number;
  try {
    remote = frozenAddressIn(batch, "remoteAddress", addresses);
    thawTcb(frozen, slow, DEFAULT_TCP_CONFIG, nowMs, addresses);
  } catch (error) { // of an address that is no host's
    assert(error instanceof RangeError, String(error));
    return true;
  }
  const local = frozenAddressIn(batch, "localAddress", addresses);
  resetUnfrozen(left);
  left.slot = left.serial = 0;
  for (const tcb of [quick, left]) thawQuiet(batch, local, remote, tcb, DEFAULT_TCP_CONFIG, nowMs);
  for (const [what, tcb] of Object.entries({ "a new TCB": quick, "one that was left": left })) {
    for (const [name, value] of Object.entries(slow)) {
      const got = (tcb as unknown as Record<string, unknown>)[name];
      if (typeof value !== "object") {
        assert(Object.is(got, value), `${what}: ${name} is ${got}, need ${value}`);
      } else if (Array.isArray(value)) equalValues(got, value, `${what}: ${name}`);
    }
    const queued = tcb.sendQueue.length + tcb.receiveQueue.length + tcb.sent.length;
    assert(queued === 0 && slow.sendQueue.length + slow.receiveQueue.length + slow.sent.length === 0, what);
    assert(tcb.durable === undefined && slow.durable === undefined && tcb.accEcn === undefined, what);
  }
  return true;
}
