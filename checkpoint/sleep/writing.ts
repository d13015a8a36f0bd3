import { tcpCalls } from "../../net/tcp/calls.ts";
import { freezeQuiet, QuietTcb } from "../../net/tcp/freeze_quiet.ts";
import type { Tcb } from "../../net/tcp/tcb.ts";
import { summarize, summarizeQuiet, SUMMARY_WORDS } from "../../net/wake/summary.ts";
import { type CborValue, encodeCbor, encodeShared } from "../image/cbor.ts";
import { putQuiet } from "../sockets/encode_quiet.ts";
import { SOCKET_VERSION, writeSocketImage } from "../sockets/socket_image.ts";
import { IMAGE_BYTES_MORE } from "../store/bare.ts";
import { BareBatch } from "../store/bare_batch.ts";
import { type Commit, RECORD_BYTES_MAX } from "../store/store.ts";
import type { Walk } from "./walk.ts";

/** A connection whose image is written and not yet durable. */
export interface Saving {
  readonly tcb: Tcb;
  /** Somebody has asked for it, or it was idle. */
  readonly why: "idle" | "forced";
  readonly frozenAtMs: number;
  location: number; // the store may move it
  readonly imageBytes: number;
  /** What the application may change without a call of ours: then the image is out of date. */
  readonly attachment: unknown;
  readonly attached: Uint8Array | undefined;
}

/** Attachments up to so many bytes go the short way: a message's worth, so that batches stay small. */
const ATTACHED_BYTES_MAX = 4_096;
/** A batch of idle connections, and some. */
const BATCH_BYTES = 64 * 1024;

/**
 * The images of one turn on their way to the store. Those of quiet connections, which are nearly all, are written where
 * the store takes them from, without an object of their own (docs/decisions/0054-quiet-images-have-a-short-way.md).
 */
export class Writing {
  readonly #walk: Walk;
  readonly #quietTcb = new QuietTcb();
  readonly #bare = new BareBatch(BATCH_BYTES);
  readonly #quietSummaries: Int32Array;
  readonly #summaries: Int32Array;
  #quiet: Saving[] = [];
  #others: Saving[] = [];
  #images: Uint8Array[] = [];

  constructor(walk: Walk, batchMax: number) {
    this.#walk = walk;
    this.#quietSummaries = new Int32Array(SUMMARY_WORDS * batchMax);
    this.#summaries = new Int32Array(SUMMARY_WORDS * batchMax);
  }

  /** Connections that have been added. */
  get count(): number {
    return this.#quiet.length + this.#others.length;
  }

  /**
   * Adds a connection's image.
   * @returns Its bytes.
   * @throws {Error} When there is no image to be had of it.
   */
  add(tcb: Tcb, why: "idle" | "forced", nowMs: number): number {
    const { attachment } = tcb;
    const attached = encodedIfObject(attachment);
    const imageBytes = this.#putQuiet(tcb, attached, nowMs) || this.#putOther(tcb, nowMs);
    const saving = { tcb, why, frozenAtMs: nowMs, location: -1, imageBytes, attachment, attached };
    if (this.#bare.count > this.#quiet.length) this.#quiet.push(saving);
    else this.#others.push(saving);
    return imageBytes;
  }

  /** Gives all to the store, and `told` of them, what it says or why it does not take them; then there are none. */
  append(told: (batch: readonly Saving[], commit: Commit | undefined, error: unknown) => void): void {
    const quiet = this.#quiet, others = this.#others, images = this.#images;
    this.#quiet = [];
    this.#others = [];
    this.#images = [];
    const { store } = this.#walk;
    if (quiet.length > 0) {
      const summaries = this.#quietSummaries.subarray(0, SUMMARY_WORDS * quiet.length);
      tell(quiet, () => store.appendBare!(this.#bare, summaries), told);
      this.#bare.clear();
    }
    if (others.length > 0) {
      const summaries = this.#summaries.subarray(0, SUMMARY_WORDS * others.length);
      tell(others, () => store.append(images, { summaries, hashed: true }), told);
    }
  }

  /** The bytes of a quiet connection's image; 0 when it goes the long way. */
  #putQuiet(tcb: Tcb, attachedObject: Uint8Array | undefined, nowMs: number): number {
    const { store, stack } = this.#walk;
    // A recorder is to hear of what is frozen.
    if (store.appendBare === undefined || stack.calls.freeze !== tcpCalls.freeze) return 0;
    if ((attachedObject?.length ?? 0) > ATTACHED_BYTES_MAX || !freezeQuiet(tcb, nowMs, this.#quietTcb)) {
      return 0;
    }
    const { attachment } = tcb;
    const attached = attachedObject ??
      (attachment === undefined ? undefined : encodeShared(attachment as CborValue));
    if (attached !== undefined && attached.length > ATTACHED_BYTES_MAX) return 0;
    const bare = this.#bare;
    const index = bare.count;
    putQuiet(this.#quietTcb, attached, stack.addresses, SOCKET_VERSION, bare);
    const { numbers } = this.#quietTcb;
    summarizeQuiet(tcb, numbers, stack.addresses, this.#quietSummaries, SUMMARY_WORDS * index);
    return bare.recordBytes(index) + IMAGE_BYTES_MORE;
  }

  #putOther(tcb: Tcb, nowMs: number): number {
    const { stack } = this.#walk;
    const frozen = stack.calls.freeze(tcb, nowMs, stack.addresses);
    const bytes = writeSocketImage(frozen, tcb.attachment);
    if (bytes.length > RECORD_BYTES_MAX) {
      throw new RangeError(
        `Cannot suspend connection: its image has ${bytes.length} bytes, ${RECORD_BYTES_MAX} are the limit`,
      );
    }
    summarize(frozen, this.#summaries, SUMMARY_WORDS * this.#images.length);
    this.#images.push(bytes);
    return bytes.length;
  }
}

function tell(
  batch: readonly Saving[],
  append: () => Commit,
  told: (batch: readonly Saving[], commit: Commit | undefined, error: unknown) => void,
): void {
  let commit: Commit;
  try {
    commit = append();
  } catch (error) {
    return told(batch, undefined, error);
  }
  for (let index = 0; index < batch.length; index++) batch[index]!.location = commit.locations[index]!;
  told(batch, commit, undefined);
}

/** The bytes of an attachment that can be changed in place. */
function encodedIfObject(attachment: unknown): Uint8Array | undefined {
  return typeof attachment === "object" && attachment !== null
    ? encodeCbor(attachment as CborValue)
    : undefined;
}
