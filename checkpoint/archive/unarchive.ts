import { frozenTcbFields } from "../../net/tcp/frozen_tcb.ts";
import { parseIpv4 } from "../../net/wire/address.ts";
import { parseIpv6 } from "../../net/wire/ipv6_address.ts";
import type { CborValue } from "../image/cbor.ts";
import { Kind } from "../image/kinds.ts";
import { readImage } from "../image/read.ts";
import { writeImage } from "../image/write.ts";
import { isBeside } from "../sockets/stretch.ts";
import { formatFrozenAddress } from "../../net/ip/address_table.ts";
import type { Store } from "../store/store.ts";
import { type ArchiveDamage, ArchiveError, ArchiveReader, archiveSource } from "./archive_reader.ts";
import { openArchiveFile } from "./archive_file.ts";

/** Options of `unarchive`. */
export interface UnarchiveOptions {
  /**
   * Local addresses that are others from now on. Only the connections' names change: their peers go on talking to
   * the old address, so what lies between must follow, as a NAT does.
   */
  readonly move?: Readonly<Record<string, string>>;
  /** Told of each damaged stretch. */
  readonly onDamage?: (damage: ArchiveDamage) => void;
  /** Told now and then how many connections are in the store. */
  readonly onProgress?: (connections: number) => void;
}

/** What came out of an archive. */
export interface Unarchived {
  /** How many sleep in the store now. */
  readonly connections: number;
  /** Those of them whose local address was moved. */
  readonly moved: number;
  /** Damaged stretches. */
  readonly damaged: number;
  /** How many the archive says it holds; unknown when its end is missing. */
  readonly expected: number | undefined;
}

/** Bytes of images that are appended at a time. */
const BATCH_BYTES = 4 * 1024 * 1024;
const LOCAL_ADDRESS_AT = frozenTcbFields.indexOf("localAddress");

/**
 * Puts the connections of an archive into an empty store, in bounded memory; they are durable when this resolves. The
 * host that opens the store next goes on with them. What is damaged is told, and costs itself only.
 *
 * The process that wrote the archive must not go on with them: two that answer for one connection break it.
 *
 * @param source A file's path, or an archive's bytes.
 * @throws {ArchiveError} When the source is no archive, or the store is not empty.
 * @throws {TypeError} When `move` does not name addresses of one family.
 * @throws {StoreError} When the store refuses.
 * @example
 * ```ts
 * import { FileStore, unarchive } from "@torpor/torpor";
 * await using store = await FileStore.open("./connections");
 * const { connections } = await unarchive("monday.archive", store, { move: { "10.7.0.1": "10.8.0.1" } });
 * console.log(connections, "connections sleep here now");
 * ```
 */
export async function unarchive(
  source: string | Uint8Array,
  store: Store,
  options: UnarchiveOptions = {},
): Promise<Unarchived> {
  const { onDamage, onProgress } = options;
  const moves = new Map(
    Object.entries(options.move ?? {}).map(([from, to]) => {
      const [address, target] = [parseAddress(from), parseAddress(to)];
      if (typeof address !== typeof target) {
        throw new TypeError(`Cannot move connections from ${from} to ${to}: they are of different families`);
      }
      return [formatFrozenAddress(address), target] as const;
    }),
  );
  if (store.stats.recordsLive > 0) {
    throw new ArchiveError(
      `Cannot unarchive: ${store.stats.recordsLive} connections are in the store already`,
    );
  }
  const file = typeof source === "string" ? openArchiveFile(source) : undefined;
  try {
    const reader = new ArchiveReader(file ?? archiveSource(source as Uint8Array));
    let connections = 0;
    let moved = 0;
    let told = 0;
    let batch: Uint8Array[] = [];
    let gathered = 0;
    const append = async (): Promise<void> => {
      await store.append(batch).durable;
      onProgress?.(connections);
      [batch, gathered] = [[], 0];
    };
    const tell = (): void => {
      for (; told < reader.damage.length; told++) onDamage?.(reader.damage[told]!);
    };
    for (const { image } of reader.images()) {
      tell();
      const beside = isBeside(image); // a part of a connection, or the firewall's
      if (!beside) connections++;
      const elsewhere = moves.size === 0 || beside ? undefined : movedImage(image, moves);
      if (elsewhere !== undefined) moved++;
      batch.push(elsewhere ?? image.slice());
      gathered += image.length;
      if (gathered >= BATCH_BYTES) await append();
    }
    tell();
    if (batch.length > 0) await append();
    const expected = reader.about.total?.connections;
    return { connections, moved, damaged: reader.damage.length, expected };
  } catch (error) {
    if (!(error instanceof ArchiveError) || file === undefined) throw error;
    throw new ArchiveError(`Cannot read "${source}": ${error.message}`, { cause: error });
  } finally {
    file?.close();
  }
}

/** The image with its new address; `undefined` when it stays where it was. All else is as it was, undecoded. */
function movedImage(
  image: Uint8Array,
  moves: ReadonlyMap<string, number | Uint8Array>,
): Uint8Array | undefined {
  const { version, body } = readImage(image);
  const fields = [...body as CborValue[]];
  const target = moves.get(formatFrozenAddress(fields[LOCAL_ADDRESS_AT] as number | Uint8Array));
  if (target === undefined) return undefined;
  fields[LOCAL_ADDRESS_AT] = target;
  return writeImage({ kind: Kind.Socket, version, body: fields });
}

/** An address as images hold it. */
function parseAddress(text: string): number | Uint8Array {
  const ipv4 = parseIpv4(text);
  if (ipv4 !== undefined) return ipv4 >>> 0;
  const words = parseIpv6(text);
  if (words === undefined) throw new TypeError(`Cannot move connections: "${text}" is no address`);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  words.forEach((word, at) => view.setInt32(4 * at, word));
  return bytes;
}
