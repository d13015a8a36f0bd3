import { FrozenBatch } from "../../net/tcp/frozen_batch.ts";
import type { Pieces } from "../journal.ts";
import type { Attached } from "../sockets/decode_quiet.ts";
import type { FrozenSocket } from "../sockets/socket_image.ts";

/** Numbers of an idle connection's rows, twice over; who has more goes the long way. */
const CELLS = 64;

/** A connection that is wanted awake: asleep with an image, or without one on its way to sleep. */
export class Wake implements Attached {
  record = -1;
  location = -1;
  /** Its image is in the batch's `frozen`, at this connection's place, with what is attached here. */
  quiet = false;
  attachment: unknown = undefined;
  /** Of what is not quiet. */
  image: FrozenSocket | undefined = undefined;
  /** The stretches that the image names. */
  pieces: Pieces | undefined = undefined;
}

/** Connections that wake in one turn, in memory that the next ones use again. */
export class WakeBatch {
  readonly frozen: FrozenBatch;
  readonly #wakes: Wake[] = [];
  /** How many there are. */
  count = 0;

  constructor(batchMax: number) {
    this.frozen = new FrozenBatch(batchMax, CELLS);
  }

  /** The place of the next one, which `count` says when it is there. */
  get next(): Wake {
    return this.#wakes[this.count] ??= new Wake();
  }

  at(index: number): Wake {
    return this.#wakes[index]!;
  }

  /** Forgets them: what was attached to them is not ours any more. */
  clear(): void {
    for (let index = 0; index < this.count; index++) {
      const wake = this.#wakes[index]!;
      wake.quiet = false;
      wake.attachment = wake.image = wake.pieces = undefined;
    }
    this.count = 0;
  }
}
