import { CborError, type CborValue, decodeCbor } from "../../image/cbor.ts";
import { scanCbor } from "../../image/cbor_scan.ts";
import { ImageError } from "../../image/image_error.ts";
import { ImageFile, type ImageSource } from "../../image/image_file.ts";
import { Kind, registerKind } from "../../image/kinds.ts";
import { ApplianceError } from "../appliance_error.ts";
import type { Service } from "../appliance.ts";
import { serviceFrom } from "../oci/documents.ts";
import { contentBytes, RAW_BYTES_MAX, type Zstd } from "../zstd.ts";
import { bytesOfHex, type Change, ChangeReader, hexOfBytes, type Pack } from "./change.ts";

/** The most names, and the most services, of a differential's own account. */
const APPLIANCES_MAX = 1_000;

registerKind(Kind.Diff, 1, ["base", "result", "appliances", "services", "changes", "packs"]);

/** What a differential says of itself. */
export interface DiffAbout {
  /** Fingerprint of the tree that it is for. */
  readonly base: string;
  /** And of the one that it makes of it. */
  readonly result: string;
  /** What it brings to the base, by name and by the fingerprint of each: several after a merge. */
  readonly appliances: readonly { readonly name: string; readonly result: string }[];
  readonly services: readonly Service[];
  /** How many chunks hold changes; those behind them hold packs. */
  readonly changes: number;
  readonly packs: number;
}

/** The body of a differential's image. */
export function encodeAbout({ base, result, appliances, services, changes, packs }: DiffAbout): CborValue {
  return [
    bytesOfHex(base),
    bytesOfHex(result),
    appliances.map(({ name, result }) => [name, bytesOfHex(result)]),
    services.map(({ name, entrypoint, cmd, env, ports, user, workingDir }) => [
      ...[name, [...entrypoint], [...cmd], [...env], [...ports], user, workingDir],
    ]),
    changes,
    packs,
  ];
}

function decodeAbout(body: CborValue): DiffAbout {
  if (!Array.isArray(body) || body.length !== 6) throw new TypeError("its body cannot be");
  const [base, result, appliances, services, changes, packs] = body as CborValue[];
  const lists = Array.isArray(appliances) && Array.isArray(services) && appliances.length <= APPLIANCES_MAX &&
    services.length <= APPLIANCES_MAX;
  if (!lists || typeof changes !== "number" || typeof packs !== "number") {
    throw new TypeError("its body cannot be");
  }
  return {
    base: hexOfBytes(base),
    result: hexOfBytes(result),
    appliances: (appliances as CborValue[]).map((each) => {
      const [name, hash] = Array.isArray(each) ? each : [];
      if (typeof name !== "string") throw new TypeError("an appliance's name cannot be");
      return { name, result: hexOfBytes(hash) };
    }),
    services: (services as CborValue[]).map((each) => {
      const [name, entrypoint, cmd, env, ports, user, workingDir] = Array.isArray(each) ? each : [];
      return serviceFrom({ name, entrypoint, cmd, env, ports, user, workingDir }, "differential");
    }),
    changes,
    packs,
  };
}

/** A differential that is open: what it changes is in memory, the bytes that it brings are read when asked for. */
export class DiffImage {
  readonly about: DiffAbout;
  readonly changes: readonly Change[];
  readonly packs: readonly Pack[];
  readonly #image: ImageFile;

  /**
   * @throws {ImageError} When it is damaged, or none of a differential, or says what cannot be.
   */
  constructor(source: ImageSource, zstd: Zstd) {
    const image = new ImageFile(source);
    if (image.kind !== Kind.Diff) {
      throw new ImageError("header", 5, "Cannot open differential: it is an image of something else");
    }
    this.#image = image;
    const reader = new ChangeReader();
    let part: "body" | `chunk ${number}` = "body";
    try {
      this.about = decodeAbout(image.body);
      for (let index = 0; index < this.about.changes && index < image.chunkCount; index++) {
        part = `chunk ${index}`;
        const frame = image.chunk(index);
        const rawBytes = contentBytes(frame) ?? RAW_BYTES_MAX + 1;
        readItems(zstd.decompress(frame, new Uint8Array(0), rawBytes), reader);
      }
      part = "body";
      reader.end();
      const { changes, packs } = this.about;
      if (changes + packs !== image.chunkCount || packs !== reader.packs.length) {
        throw new TypeError(
          `${changes} chunks of changes and ${packs} packs in ${image.chunkCount} chunks cannot be`,
        );
      }
    } catch (error) {
      const expected = error instanceof TypeError || error instanceof ApplianceError ||
        error instanceof CborError;
      if (!expected) throw error;
      throw new ImageError(part, 0, `Cannot open differential: ${part}: ${error.message}`, { cause: error });
    }
    this.changes = reader.changes;
    this.packs = reader.packs;
  }

  /** The compressed bytes of a pack. @throws {ImageError} When they are damaged. */
  pack(index: number): Uint8Array<ArrayBuffer> {
    return this.#image.chunk(this.about.changes + index);
  }
}

function readItems(sequence: Uint8Array, reader: ChangeReader): void {
  for (let at = 0; at < sequence.length;) {
    const { end } = scanCbor(sequence, at);
    reader.take(decodeCbor(sequence.subarray(at, end)));
    at = end;
  }
}
