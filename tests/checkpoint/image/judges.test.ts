import { decode as cborgDecode, Tagged } from "cborg";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { Kind, readImage, writeImage } from "../../../checkpoint/image/mod.ts";
import { judge } from "../../support/judge.ts";
import { cbor2Needs, python } from "../cbor2.ts";
import { samples } from "./samples.ts";
import { hex, randomValue } from "./values.ts";

const images = Object.values(samples()).map((content) => writeImage(content));
for (let seed = 1; seed <= 200; seed++) {
  images.push(writeImage({ kind: Kind.Evidence, body: randomValue(new Prng(seed)) }));
}

test("cborg reads every image as we do", () => {
  for (const bytes of images) {
    const { value } = cborgDecode(bytes, { tags: Tagged.preserve(55799), strict: true }) as {
      value: unknown[];
    };
    const image = readImage(bytes);
    const [format, kind, version, body, chunks, trailer] = value;
    expect([format, kind, version]).toEqual([1, image.kind, image.version]);
    expect((chunks as unknown[][]).map(([data]) => data)).toEqual(image.chunks);
    expect((trailer as Uint8Array).length).toBe(8);
    const text = hex(body as Uint8Array);
    if (text.includes("efbbbf")) continue; // cborg loses byte order marks
    expect(
      cborgDecode(body as Uint8Array, { useMaps: true, strict: true, rejectDuplicateMapKeys: true }),
      text,
    )
      .toEqual(image.body);
  }
});

judge("python3-cbor2 reads every image and writes the same bytes in its canonical form", cbor2Needs(), () => {
  const out = python(
    `
import sys, cbor2
data = sys.stdin.buffer.read()
for item in cbor2.loads(data):
    tag = cbor2.loads(item)
    value = tag.value if isinstance(tag, cbor2.CBORTag) else tag
    body = cbor2.loads(value[3])
    print(value[1], value[2], len(value[4]), value[5].hex(), cbor2.dumps(body, canonical=True).hex())
`,
    encodeCbor(images),
  );
  const lines = out.trim().split("\n");
  expect(lines.length).toBe(images.length);
  for (const [index, line] of lines.entries()) {
    const image = readImage(images[index]!);
    const [kind, version, chunks, trailer, body] = line.split(" ");
    expect([Number(kind), Number(version), Number(chunks)]).toEqual([
      image.kind,
      image.version,
      image.chunks.length,
    ]);
    expect(trailer).toBe(hex(images[index]!.subarray(-8)));
    expect(body!.length, `image ${index}`).toBe(2 * encodeCbor(image.body).length);
    if (!hasMap(image.body)) expect(body, `image ${index}`).toBe(hex(encodeCbor(image.body)));
  }
});

/** cbor2's canonical form sorts keys by length first (RFC 7049), ours bytewise (RFC 8949). */
function hasMap(value: unknown): boolean {
  return value instanceof Map || (Array.isArray(value) && value.some(hasMap));
}
