import type { CborValue } from "./cbor.ts";
import { type Head, readHead } from "./cbor_head.ts";
import { scanCbor } from "./cbor_scan.ts";
import { type Frame, readFrame } from "./frame.ts";
import { ImageError } from "./image_error.ts";
import { kindInfo, kindName } from "./kinds.ts";
import { decodeBody } from "./read.ts";
import { verifyImage } from "./verify.ts";

/** A shown value is cut here, in characters: a queue of 64 KB would bury the rest. */
const VALUE_CHARACTERS_MAX = 64;

/**
 * An image in words: its kind, each field of the body with its byte, each part with its verdict. For
 * people; the text's form may change.
 */
export function explainImage(bytes: Uint8Array): string {
  const lines: string[] = [];
  try {
    const frame = readFrame(bytes);
    lines.push(`${kindName(frame.kind)} image, version ${frame.version}, ${bytes.length} bytes`);
    lines.push(...bodyLines(bytes, frame));
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    lines.push(`damaged image, ${bytes.length} bytes`);
  }
  const { ok, parts } = verifyImage(bytes);
  lines.push(ok ? "every part is whole:" : "parts:");
  for (const part of parts) {
    lines.push(
      `  ${part.ok ? "ok " : "BAD"} ${part.part} [${part.start}, ${part.end}) ${part.detail}`.trimEnd(),
    );
  }
  return lines.join("\n") + "\n";
}

function bodyLines(bytes: Uint8Array, frame: Frame): string[] {
  let body: CborValue;
  try {
    body = decodeBody(bytes, frame);
  } catch (error) {
    if (error instanceof ImageError) return [`  body at byte ${frame.bodyStart} cannot be read`];
    throw error;
  }
  if (!Array.isArray(body)) return [`  body at byte ${frame.bodyStart}: ${shown(body)}`];
  const { fields: names = [], places = [] } = kindInfo(frame.kind) ?? {};
  const offsets = itemOffsets(bytes, frame.bodyStart);
  return body.flatMap((item: CborValue, index) => {
    const at = offsets[index]!;
    const placed = places.length > 0 ? index - names.indexOf("later") : -1;
    if (Array.isArray(item) && placed === 0 && frame.version > 2) { // each place behind how many are passed over
      const inner = itemOffsets(bytes, at);
      let place = -1;
      return item.flatMap((skipped: CborValue, each) => {
        if (each % 2 !== 0) return [];
        place += 1 + Number(skipped);
        return [
          `  byte ${inner[each + 1]}  ${places[place] ?? `place ${place}`} = ${shown(item[each + 1]!)}`,
        ];
      });
    }
    if (item instanceof Map && placed === 0) { // in version 2 by place
      const inner = itemOffsets(bytes, at);
      return [...item].map(([place, value], each) =>
        `  byte ${inner[2 * each + 1]}  ${places[place as number] ?? `place ${place}`} = ${shown(value)}`
      );
    }
    const name = placed >= 0 && frame.version === 1 ? places[placed] : names[index]; // version 1 had them in the array
    return [`  byte ${at}  ${name ?? `field ${index}`} = ${shown(item)}`];
  });
}

/** Where each item of the array or map that starts at `start` starts. It was decoded before: it is sound. */
function itemOffsets(bytes: Uint8Array, start: number): number[] {
  const head: Head = { major: 0, argument: 0, next: 0 };
  readHead(bytes, start, head);
  const offsets: number[] = [];
  let at = head.next;
  const count = head.major === 5 ? 2 * head.argument : head.argument;
  for (let index = 0; index < count; index++) {
    offsets.push(at);
    at = scanCbor(bytes, at).end;
  }
  return offsets;
}

/** A value in CBOR's diagnostic notation (RFC 8949 section 8), cut where it gets long. */
export function shown(value: CborValue): string {
  const text = diagnostic(value);
  if (text.length <= VALUE_CHARACTERS_MAX) return text;
  const size = value instanceof Uint8Array ? ` (${value.length} bytes)` : "";
  return `${text.slice(0, VALUE_CHARACTERS_MAX)}…${size}`;
}

function diagnostic(value: CborValue): string {
  if (value instanceof Uint8Array) {
    const some = Array.from(
      value.subarray(0, VALUE_CHARACTERS_MAX),
      (byte) => byte.toString(16).padStart(2, "0"),
    );
    return `h'${some.join("")}'`;
  }
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item: CborValue) => diagnostic(item)).join(", ")}]`;
  if (value instanceof Map) {
    return `{${[...value].map(([key, item]) => `${diagnostic(key)}: ${diagnostic(item)}`).join(", ")}}`;
  }
  return String(value);
}
