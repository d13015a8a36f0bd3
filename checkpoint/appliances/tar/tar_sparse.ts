import { refuse } from "../appliance_error.ts";
import type { Extent } from "../node.ts";
import type { ByteStream } from "./byte_stream.ts";
import { BLOCK_BYTES, EXTENTS_MAX, HOLE_BYTES_MAX, number, textOf } from "./tar_header.ts";

/** GNU's old format: four runs in the header, and 21 in each block that follows while a byte says so. */
export async function oldSparse(stream: ByteStream, header: Uint8Array, at: number): Promise<Extent[]> {
  const extents: Extent[] = [];
  const readRuns = (block: Uint8Array, start: number, count: number): void => {
    for (let run = 0; run < count; run++) {
      const from = start + 24 * run;
      if (block[from] === 0) return;
      extents.push({
        start: number(block, [from, from + 12], at, "map"),
        length: number(block, [from + 12, from + 24], at, "map"),
      });
    }
  };
  readRuns(header, 386, 4);
  for (let more = header[482] !== 0; more;) {
    const block = await stream.take(BLOCK_BYTES) ?? ends(at);
    readRuns(block, 0, 21);
    more = block[504] !== 0;
    if (extents.length > EXTENTS_MAX) tooMany(at);
  }
  return extents;
}

/** The runs that extended records tell of (0.0 and 0.1), or the map in front of the data (1.0). */
export async function sparseMap(
  stream: ByteStream,
  records: readonly [string, Uint8Array][],
  stored: number,
  at: number,
): Promise<Extent[] | undefined> {
  let major: string | undefined;
  const numbers: number[] = [];
  for (const [key, value] of records) {
    if (key === "GNU.sparse.major") major = textOf(value, at);
    else if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes") {
      numbers.push(whole(textOf(value, at), at));
    } else if (key === "GNU.sparse.map") {
      for (const text of textOf(value, at).split(",")) numbers.push(whole(text, at));
    } else if (key === "GNU.sparse.realsize" && major === undefined) major = "1";
    if (numbers.length > 2 * EXTENTS_MAX) tooMany(at);
  }
  if (numbers.length > 0) return pairsOf(numbers, at);
  if (major !== "1") return records.some(([key]) => key === "GNU.sparse.size") ? [] : undefined;
  let blocks = 0;
  let text = "";
  const line = async (): Promise<number> => {
    for (;;) {
      const end = text.indexOf("\n");
      if (end >= 0) {
        const number = whole(text.slice(0, end), at);
        text = text.slice(end + 1);
        return number;
      }
      if (++blocks * BLOCK_BYTES > stored || text.length > BLOCK_BYTES) return ends(at);
      text += String.fromCharCode(...await stream.take(BLOCK_BYTES) ?? ends(at));
    }
  };
  const count = await line();
  if (count > EXTENTS_MAX) tooMany(at);
  for (let each = 0; each < 2 * count; each++) numbers.push(await line());
  return pairsOf(numbers, at);
}

/** Runs in order, within the file, that take all of the data; empty ones, which mark the end, are left out. */
export function checkedExtents(
  extents: readonly Extent[],
  size: number,
  dataBytes: number,
  at: number,
): Extent[] {
  let from = 0;
  let bytes = 0;
  for (const { start, length } of extents) {
    if (start < from || start + length > size) {
      refuse("format", `Cannot read tar: header at byte ${at}: its map of a sparse file is not in order`);
    }
    from = start + length;
    bytes += length;
  }
  if (bytes !== dataBytes) {
    refuse("format", `Cannot read tar: header at byte ${at}: a map of ${bytes} bytes for ${dataBytes}`);
  }
  if (size - bytes > HOLE_BYTES_MAX) {
    refuse("limit", `Cannot read tar: header at byte ${at}: a file with ${size - bytes} bytes of holes`);
  }
  return extents.filter(({ length }) => length > 0);
}

function pairsOf(numbers: readonly number[], at: number): Extent[] {
  if (numbers.length % 2 !== 0) ends(at);
  return Array.from({ length: numbers.length / 2 }, (_, index) => ({
    start: numbers[2 * index]!,
    length: numbers[2 * index + 1]!,
  }));
}

function whole(text: string, at: number): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  return refuse("format", `Cannot read tar: header at byte ${at}: its map of a sparse file is damaged`);
}

function ends(at: number): never {
  return refuse("format", `Cannot read tar: header at byte ${at}: its map of a sparse file is cut off`);
}

function tooMany(at: number): never {
  return refuse("limit", `Cannot read tar: header at byte ${at}: more than ${EXTENTS_MAX} runs of data`);
}
