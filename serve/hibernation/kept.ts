import { type CborValue, encodeCbor } from "../../checkpoint/image/cbor.ts";
import { SleepingHost } from "../../checkpoint/sleeping_host.ts";
import type { Connection } from "../../net/socket/connection.ts";
import type { Host } from "../../net/socket/host.ts";

/** Bytes of an attachment by default: what each of a million sleepers may keep on disk. */
export const ATTACHMENT_BYTES_MAX = 4_096;

/** How an application keeps something with its connections through sleep, restarts and new versions of itself. */
export interface AttachmentOptions<A> {
  /** The version of this program's attachments. Default 0. */
  version?: number;
  /**
   * Makes an attachment of this version out of one that another version has left in an image. It is called as a
   * connection wakes, once, before any handler. Without it such a connection is aborted, and the error thrown where
   * nothing catches it: what an attachment of another version means nobody can guess.
   */
  migrate?(attachment: unknown, version: number): A;
  /** Bytes of an attachment in CBOR. Default 4,096. */
  attachmentBytesMax?: number;
}

/** Which protocol the numbers in an image are of. */
export const KeptBy = { http: 1, webSocket: 2, events: 3, mqtt: 4 } as const;
export type KeptBy = typeof KeptBy[keyof typeof KeptBy];

/**
 * What is in an image of a connection that a protocol of ours serves: whose it is, the protocol's own state (`null` where
 * a message may begin), the version of the application's attachment, and that.
 */
type Kept = [by: KeptBy, state: unknown, version: number, attachment?: unknown];

/** What a connection keeps, while it is awake. One object for as long as it is awake. */
export class Keeping<A> {
  readonly #connection: Attachable;
  readonly #options: AttachmentOptions<A>;
  #kept: Kept;

  /**
   * @param by What a connection is that keeps nothing yet.
   * @throws {TypeError} When the image is another program's, or of a version that nothing migrates.
   */
  constructor(connection: Attachable, options: AttachmentOptions<A>, by: KeptBy) {
    this.#connection = connection;
    this.#options = options;
    const { version = 0 } = options;
    const found = connection.attachment;
    if (found === undefined) {
      this.#kept = [by, null, version];
      return;
    }
    this.#kept = checked(found);
    const [, , was] = this.#kept;
    if (was === version) return;
    if (options.migrate === undefined) {
      throw new TypeError(
        `Cannot take connection ${connection.id} over: its attachment is of version ${was}, need ${version}`,
      );
    }
    this.#kept[2] = version;
    this.#setAttachment(options.migrate(this.#kept[3], was));
    this.save();
  }

  get by(): KeptBy {
    return this.#kept[0];
  }

  /** The protocol's own state, as CBOR can hold it. Setting it saves; who changes it in place calls `save`. */
  get state(): unknown {
    return this.#kept[1];
  }
  set state(value: unknown) {
    this.#kept[1] = value;
    this.save();
  }

  /** The connection speaks another protocol from here on. */
  become(by: KeptBy, state: unknown): void {
    this.#kept[0] = by;
    this.state = state;
  }

  get attachment(): A {
    return this.#kept[3] as A;
  }
  set attachment(value: A) {
    this.#setAttachment(value);
    this.save();
  }

  /** @throws {RangeError} When a handler has made its attachment, in place, longer than it may be. */
  check(): void {
    if (typeof this.#kept[3] === "object" && this.#kept[3] !== null) this.#measure(this.#kept[3]);
  }

  /** Keeps it with the connection: in its image when it sleeps, in the log when it is durable. */
  save(): void {
    this.#connection.attachment = this.#kept;
  }

  #setAttachment(value: A): void {
    if (value === undefined) {
      this.#kept.length = 3;
      return;
    }
    this.#measure(value);
    this.#kept[3] = value;
  }

  #measure(value: unknown): void {
    const { attachmentBytesMax = ATTACHMENT_BYTES_MAX } = this.#options;
    const { length } = encodeCbor(value as CborValue);
    if (length <= attachmentBytesMax) return;
    throw new RangeError(
      `Cannot attach ${length} bytes to ${this.#connection.id}: at most ${attachmentBytesMax} are kept`,
    );
  }
}

/** What attachments are set on: a handler's connection, or what stands for one. */
export type Attachable = Pick<Connection, "id" | "attachment">;

function checked(found: unknown): Kept {
  if (Array.isArray(found) && found.length >= 3 && found.length <= 4) {
    const [by, , version] = found as Kept;
    if (Object.values(KeptBy).includes(by) && Number.isSafeInteger(version)) return found as Kept;
  }
  throw new TypeError(
    "Cannot take a connection over: what is attached to it is not of a protocol served here",
  );
}

/**
 * What is attached to the connections of a server that a protocol serves: the sleepers' is read from their images, and
 * they sleep on. What another version has left there is migrated, for the reader alone.
 */
export function* attachments<A>(
  host: Host,
  ids: Iterable<string>,
  by: readonly KeptBy[],
  options: AttachmentOptions<A>,
): IterableIterator<[id: string, attachment: A]> {
  if (!(host instanceof SleepingHost)) {
    throw new TypeError("Only a host whose connections sleep has their attachments");
  }
  for (const id of ids) {
    const found = host.attachmentOf(id);
    if (found === undefined) continue;
    const keeping = new Keeping<A>({ id, attachment: structuredClone(found) }, options, KeptBy.http);
    if (by.includes(keeping.by)) yield [id, keeping.attachment];
  }
}
