import { seqLess } from "../base/sequence.ts";
import type { Host } from "../net/socket/host.ts";
import { sendEnd, type Tcb } from "../net/tcp/tcb.ts";
import { ImageError } from "./image/image_error.ts";
import { writeSocketImage } from "./sockets/socket_image.ts";
import { readStretch, type Stretches, writeStretch } from "./sockets/stretch.ts";
import { type Commit, type Location, RECORD_BYTES_MAX, type Store, StoreError } from "./store/store.ts";

/** Queued bytes that an image holds itself; more become a stretch, which later images only name. */
const INLINE_BYTES = 4 * 1024;
/** The largest stretch: a wake holds it in memory twice. */
const STRETCH_BYTES_MAX = 4 << 20;
/** Image bytes in one append; what is more waits for the next, in the same turn. */
const BATCH_BYTES_MAX = 4 << 20;
/** How long to leave a store alone that has refused something. */
const RETRY_MS = 1_000;
/** Records of one removal. */
const REMOVED_MAX = 65_536;

/** A stretch that the newest image of a connection needs. */
export interface Piece {
  readonly number: number;
  readonly start: number;
  readonly end: number;
}

/** The stretches of both queues. */
export interface Pieces {
  sent: readonly Piece[];
  unread: readonly Piece[];
}

/** What the store has of an awake durable connection. */
interface Log extends Pieces {
  readonly tcb: Tcb;
  /** Its newest image, -1 while there is none. */
  location: Location;
}

/** A state that is about to be written. */
interface Entry {
  readonly log: Log;
  readonly sent: readonly Piece[];
  readonly unread: readonly Piece[];
  readonly stretches: readonly { number: number; image: Uint8Array }[];
  readonly image: Uint8Array;
  readonly rcvNxt: number;
  readonly rcvAdv: number;
  readonly sndEnd: number;
}

/**
 * The log of durable connections while they are awake (docs/decisions/0025): in each turn in which one has moved, its
 * image is written anew, the last one is removed behind it, and TCP is told when that is durable.
 *
 * What a connection has queued beyond a few kilobytes lies in stretches: records of their own, in the store before
 * the first image that names them, and removed behind the first that does not.
 */
export class Journal {
  readonly #host: Host;
  readonly #store: Store;
  readonly #report: (error: unknown) => void;
  readonly #logs = new Map<Tcb, Log>();
  readonly #byLocation = new Map<Location, Log>();
  readonly #stretches = new Map<number, Location>(); // by number: all that the store has
  readonly #moved = new Set<Tcb>(); // not as their logs say, or ended
  readonly #dead = new Set<Location>(); // records that nothing needs any more
  #nextNumber = 1;
  #againAtMs = -Infinity; // for what has moved
  #removeAtMs = -Infinity; // for what is dead

  constructor(host: Host, store: Store, report: (error: unknown) => void) {
    this.#host = host;
    this.#store = store;
    this.#report = report;
  }

  /** Records that it keeps in the store. */
  get records(): number {
    return this.#byLocation.size + this.#stretches.size + this.#dead.size;
  }

  /** As `SleepOwner.moved`. */
  moved(tcb: Tcb): void {
    this.#moved.add(tcb);
  }

  /** The end of a turn: what has moved is logged. Whether something was removed. */
  turn(nowMs: number): boolean {
    if (this.#store.failed !== undefined) return false;
    this.#endSome();
    const removed = this.#removeDead(nowMs);
    if (nowMs < this.#againAtMs) return removed;
    this.#againAtMs = -Infinity;
    while (this.#moved.size > 0 && this.#logSome(nowMs)) { /* the next batch */ }
    return removed;
  }

  nextDeadlineMs(): number {
    if (this.#store.failed !== undefined) return Infinity;
    const logMs = this.#moved.size > 0 && this.#againAtMs > -Infinity ? this.#againAtMs : Infinity;
    return this.#dead.size > 0 ? Math.min(logMs, this.#removeAtMs) : logMs;
  }

  /** There may be no more turns: what has ended must not come back, whatever the disk said the last time. */
  close(): void {
    this.#removeAtMs = -Infinity;
    this.#endSome();
    this.#removeDead(-Infinity);
  }

  // For the sleep walk: images that it writes and reads are the log of durable connections, too.

  /** An image of the connection as a whole is written: it is about to sleep, and its log goes at the end of the turn. */
  replaced(tcb: Tcb): void {
    const log = this.#logs.get(tcb);
    if (log !== undefined) this.#forget(log);
  }

  /**
   * Where the stretches that an image names begin and end: asked before its connection wakes, since a disk may refuse.
   * @throws {ImageError} {StoreError} As `stretch`.
   */
  piecesOf(stretches: Stretches | undefined): Pieces {
    const read = (numbers: readonly number[]): Piece[] =>
      numbers.map((number) => {
        const { start, bytes } = readStretch(this.stretch(number), number);
        return { number, start, end: (start + bytes.length) | 0 };
      });
    return { sent: read(stretches?.sent ?? []), unread: read(stretches?.unread ?? []) };
  }

  /** A durable connection is awake: its image stays, and is the beginning of its log. */
  begin(tcb: Tcb, location: Location, { sent, unread }: Pieces = { sent: [], unread: [] }): void {
    const log: Log = { tcb, location, sent, unread };
    this.#logs.set(tcb, log);
    this.#byLocation.set(location, log);
  }

  /** The image of stretch `number`. @throws {ImageError} {StoreError} When it is not there, or cannot be read. */
  stretch(number: number): Uint8Array {
    const location = this.#stretches.get(number);
    if (location !== undefined) return this.#store.read(location);
    throw new ImageError("body", 0, `Cannot restore connection: stretch ${number} of its stream is missing`);
  }

  /** The store has `image` at `location`. @returns Whether it is a stretch, which is known from now on. */
  found(image: Uint8Array, location: Location): boolean {
    let number: number;
    try {
      number = readStretch(image).number;
    } catch {
      return false;
    }
    this.#stretches.set(number, location);
    this.#nextNumber = Math.max(this.#nextNumber, number + 1);
    return true;
  }

  /** All images have been found, and these are the stretches that they name: others are what a crash has left. */
  keepOnly(numbers: ReadonlySet<number>): void {
    for (const number of [...this.#stretches.keys()]) if (!numbers.has(number)) this.#drop(number);
  }

  /** Images that later ones have replaced, whoever's: they are removed as soon as the disk lets them go. */
  discard(locations: readonly Location[]): void {
    for (const location of locations) this.#dead.add(location);
  }

  /** As `Store.onMoved`. @returns Whether the record was one that nothing needs. */
  relocatedDead(from: Location, to: Location): boolean {
    if (!this.#dead.delete(from)) return false;
    this.#dead.add(to);
    return true;
  }

  /** As `Store.onMoved`. @returns Whether the record was the log's. */
  relocated(from: Location, to: Location, image: Uint8Array): boolean {
    const log = this.#byLocation.get(from);
    if (log === undefined) return this.found(image, to);
    this.#byLocation.delete(from);
    this.#byLocation.set(to, log);
    log.location = to;
    return true;
  }

  #endSome(): void {
    for (const tcb of this.#moved) {
      if (tcb.record >= 0) continue;
      this.#moved.delete(tcb);
      const log = this.#logs.get(tcb);
      if (log !== undefined) this.#forget(log); // else it sleeps, or was never written
    }
  }

  #forget(log: Log): void {
    this.#logs.delete(log.tcb);
    this.#retire(log);
    for (const { number } of [...log.sent, ...log.unread]) this.#drop(number);
  }

  /** Its image is none any more. */
  #retire(log: Log): void {
    if (log.location < 0) return;
    this.#byLocation.delete(log.location);
    this.#dead.add(log.location);
    log.location = -1;
  }

  #drop(number: number): void {
    this.#dead.add(this.#stretches.get(number)!);
    this.#stretches.delete(number);
  }

  /** Of a queue the front has gone: numbers rise. */
  #dropBefore(pieces: readonly Piece[], first: Piece | undefined): void {
    for (const { number } of pieces) if (first === undefined || number < first.number) this.#drop(number);
  }

  #removeDead(nowMs: number): boolean {
    const before = this.#dead.size;
    if (nowMs < this.#removeAtMs) return false;
    this.#removeAtMs = -Infinity;
    try {
      while (this.#dead.size > 0) {
        const some = this.#dead.size <= REMOVED_MAX ? [...this.#dead] : [...this.#dead].slice(0, REMOVED_MAX);
        this.#store.remove(some);
        for (const location of some) this.#dead.delete(location);
      }
    } catch (error) {
      if (isDiskError(error)) this.#report(error);
      else for (const location of this.#dead) if (!this.#isLive(location)) this.#dead.delete(location); // cleaned away as damaged
      this.#removeAtMs = nowMs + RETRY_MS;
    }
    return this.#dead.size < before;
  }

  #isLive(location: Location): boolean {
    try {
      this.#store.originOf(location);
      return true;
    } catch (error) {
      return isDiskError(error);
    }
  }

  /** @returns Whether there may be more to do now. */
  #logSome(nowMs: number): boolean {
    const batch: Entry[] = [];
    let bytes = 0;
    let waiting = 0;
    for (const tcb of this.#moved) {
      if (bytes >= BATCH_BYTES_MAX) break;
      // What its owner has yet to hear is logged with what that does about it. A sleep that is called off comes back.
      if (tcb.saving || tcb.events !== 0 || tcb.record < 0) {
        waiting++;
        continue;
      }
      try {
        const entry = this.#entry(tcb, nowMs);
        batch.push(entry);
        bytes += entry.stretches.reduce((sum, { image }) => sum + image.length, entry.image.length);
        this.#moved.delete(tcb);
      } catch (error) { // an attachment that CBOR cannot hold, or too large: until somebody mends it, nothing leaves
        this.#report(error);
        this.#againAtMs = nowMs + RETRY_MS;
        waiting++;
      }
    }
    if (batch.length === 0) return false;
    let commit: Commit;
    try {
      commit = this.#append(batch);
    } catch (error) {
      this.#report(error);
      this.#againAtMs = nowMs + RETRY_MS;
      for (const { log } of batch) this.#moved.add(log.tcb);
      return false;
    }
    commit.durable.then(() => this.#durable(batch), (error) => this.#report(error));
    this.#removeDead(nowMs);
    return this.#moved.size > waiting;
  }

  #entry(tcb: Tcb, nowMs: number): Entry {
    const log = this.#logs.get(tcb) ?? { tcb, location: -1, sent: [], unread: [] };
    const { sendQueue, receiveQueue, sndUna } = tcb;
    const unreadEnd = (tcb.rcvNxt - (tcb.finReceived ? 1 : 0)) | 0;
    const unreadStart = (unreadEnd - receiveQueue.length) | 0;
    const sent = this.#pieces(log.sent, sndUna, sendEnd(tcb), sendQueue);
    const unread = this.#pieces(log.unread, unreadStart, unreadEnd, receiveQueue);
    const { calls, addresses } = this.#host.stack;
    const frozen = calls.log(tcb, nowMs, addresses, sent.bytes, unread.bytes);
    const image = writeSocketImage(
      frozen,
      tcb.attachment,
      sent.pieces.length + unread.pieces.length === 0
        ? undefined
        : { sent: sent.pieces.map(numberOf), unread: unread.pieces.map(numberOf), unreadStart },
    );
    if (image.length > RECORD_BYTES_MAX) {
      throw new RangeError(
        `Cannot log connection: its image has ${image.length} bytes, ${RECORD_BYTES_MAX} are the limit`,
      );
    }
    const { takenRcvNxt, takenRcvAdv, takenSndEnd } = tcb.durable!;
    return {
      log,
      sent: sent.pieces,
      unread: unread.pieces,
      stretches: [...sent.fresh, ...unread.fresh],
      image,
      rcvNxt: takenRcvNxt,
      rcvAdv: takenRcvAdv,
      sndEnd: takenSndEnd,
    };
  }

  /** The stretches of a queue that holds `[start, end)`: those that it still needs, and new ones for what is a lot. */
  #pieces(
    known: readonly Piece[],
    start: number,
    end: number,
    queue: { copyTo(offset: number, count: number, target: Uint8Array, at: number): void },
  ): { pieces: Piece[]; fresh: { number: number; image: Uint8Array }[]; bytes: number } {
    const pieces = known.filter((piece) => seqLess(start, piece.end));
    const fresh: { number: number; image: Uint8Array }[] = [];
    let from = pieces.at(-1)?.end ?? start;
    while (((end - from) | 0) > INLINE_BYTES) {
      const bytes = new Uint8Array(Math.min((end - from) | 0, STRETCH_BYTES_MAX));
      queue.copyTo((from - start) | 0, bytes.length, bytes, 0);
      const number = this.#nextNumber++;
      fresh.push({ number, image: writeStretch({ number, start: from, bytes }) });
      pieces.push({ number, start: from, end: (from + bytes.length) | 0 });
      from = (from + bytes.length) | 0;
    }
    return { pieces, fresh, bytes: (from - start) | 0 };
  }

  /**
   * Stretches in front of the image that needs them, what it replaces is removed behind it: whatever prefix of this a
   * crash leaves is whole, and of two images the later counts. Were it one entry, damage to it would take the removal
   * along, and the older image would be back.
   */
  #append(batch: readonly Entry[]): Commit {
    const commit = this.#store.append(
      batch.flatMap(({ stretches, image }) => [...stretches.map((stretch) => stretch.image), image]),
    );
    let at = 0;
    for (const { log, sent, unread, stretches } of batch) {
      for (const { number } of stretches) this.#stretches.set(number, commit.locations[at++]!);
      this.#retire(log);
      log.location = commit.locations[at++]!;
      this.#byLocation.set(log.location, log);
      this.#logs.set(log.tcb, log);
      this.#dropBefore(log.sent, sent[0]);
      this.#dropBefore(log.unread, unread[0]);
      log.sent = sent;
      log.unread = unread;
    }
    return commit;
  }

  #durable(batch: readonly Entry[]): void {
    if (this.#host.closed) return;
    const nowMs = this.#host.clock.nowMs();
    const { sleepers } = this.#host.stack;
    for (const { log, rcvNxt, rcvAdv, sndEnd } of batch) {
      if (log.tcb.record >= 0) sleepers.logged(log.tcb, rcvNxt, rcvAdv, sndEnd, nowMs);
    }
    this.#host.kick();
  }
}

function numberOf({ number }: Piece): number {
  return number;
}

/** Whether a disk has refused, which it may not do the next time; what a store does not have it will never have. */
function isDiskError(error: unknown): boolean {
  return !(error instanceof StoreError) || error.cause !== undefined;
}
