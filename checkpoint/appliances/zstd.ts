import { refuse } from "./appliance_error.ts";

/** Bytes without compression that one frame may hold: with what zstd adds, it still is one chunk of an image. */
export const RAW_BYTES_MAX = 4 * 1024 * 1024 - 64 * 1024;
/** The most bytes that a frame may be compressed against. */
export const DICTIONARY_BYTES_MAX = 8 * 1024 * 1024;

/**
 * One zstd for every runtime, so that the same bytes compress to the same bytes: Node 20 has none, and those of Deno and
 * Bun are other versions. Against a dictionary of old content it is what makes a binary delta.
 */
export interface Zstd {
  compress(bytes: Uint8Array, dictionary: Uint8Array, level: number): Uint8Array;
  /** @throws {ApplianceError} When the frame is damaged, or holds another number of bytes than `rawBytes`. */
  decompress(frame: Uint8Array, dictionary: Uint8Array, rawBytes: number): Uint8Array;
}

let loaded: Promise<Zstd> | undefined;

/** Loads it once: a few hundred kilobytes of WebAssembly. */
export function loadZstd(): Promise<Zstd> {
  return loaded ??= load();
}

async function load(): Promise<Zstd> {
  const zstd = await import("@bokuweb/zstd-wasm");
  await zstd.init();
  return {
    compress(bytes, dictionary, level) {
      const context = zstd.createCCtx();
      try {
        return zstd.compressUsingDict(context, bytes, dictionary, level);
      } finally {
        zstd.freeCCtx(context);
      }
    },
    decompress(frame, dictionary, rawBytes) {
      const told = contentBytes(frame);
      if (told !== rawBytes || rawBytes > RAW_BYTES_MAX) {
        refuse(
          "format",
          `Cannot decompress: the frame holds ${told ?? "no number of"} bytes, expected ${rawBytes}`,
        );
      }
      const context = zstd.createDCtx();
      let bytes: Uint8Array | undefined;
      try {
        bytes = zstd.decompressUsingDict(context, frame, dictionary);
      } catch {
        // said below
      } finally {
        zstd.freeDCtx(context);
      }
      if (bytes?.length === rawBytes) return bytes;
      return refuse("format", `Cannot decompress: the frame of ${frame.length} bytes is damaged`);
    },
  };
}

/** How many bytes a frame says that it holds (RFC 8878 section 3.1.1.1): asked before anybody makes room for them. */
export function contentBytes(frame: Uint8Array): number | undefined {
  if (frame.length < 6 || frame[0] !== 0x28 || frame[1] !== 0xb5 || frame[2] !== 0x2f || frame[3] !== 0xfd) {
    return undefined;
  }
  const descriptor = frame[4]!;
  const single = (descriptor & 0x20) !== 0;
  const form = descriptor >> 6;
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!;
  const length = form === 0 ? (single ? 1 : 0) : 1 << form;
  if (length === 0 || at + length > frame.length) return undefined;
  let value = 0;
  for (let byte = length - 1; byte >= 0; byte--) value = value * 256 + frame[at + byte]!;
  return form === 1 ? value + 256 : value;
}
