import { readFileSync } from "node:fs";
import { decode, Tagged } from "cborg";
import { expect, test } from "vitest";
import { ImageError } from "../../checkpoint/image/image_error.ts";
import { writeImage } from "../../checkpoint/image/write.ts";
import { explainPatch } from "../../patching/image/explain.ts";
import type { Patch } from "../../patching/image/patch.ts";
import { patchBody } from "../../patching/image/patch_body.ts";
import { readPatch, writePatch } from "../../patching/image/patch_image.ts";
import { makePatchKeys, signPatch, verifyPatch } from "../../patching/image/sign.ts";
import { schema } from "../checkpoint/image/cddl.ts";
import { samplePatch, sampleWasmPatch } from "./sample.ts";

const GOLDEN = new URL("../golden/image-v1-patch.img", import.meta.url);

test("a patch is read as it was written, and today's code reads and writes the golden one", async () => {
  const patch = await samplePatch();
  const image = writePatch(patch);
  expect(readPatch(image)).toEqual(patch);
  const golden = new Uint8Array(readFileSync(GOLDEN));
  expect(writePatch(readPatch(golden))).toEqual(golden);
  expect(image).toEqual(golden);
  const wasm = new Uint8Array(readFileSync(new URL("../golden/image-v1-patch-wasm.img", import.meta.url)));
  expect(writePatch(sampleWasmPatch())).toEqual(wasm);
  expect(readPatch(wasm)).toEqual({ ...sampleWasmPatch(), signature: undefined });
});

test("the CDDL covers patches", async () => {
  const cddl = schema(readFileSync(new URL("../../checkpoint/image/image.cddl", import.meta.url), "utf8"));
  const image = decode(writePatch(await samplePatch()), { tags: Tagged.preserve(55799) });
  expect(() => cddl.check("image", image)).not.toThrow();
  expect(() => cddl.check("patch-image", (image as Tagged).value)).not.toThrow();
  const wasm = decode(writePatch(sampleWasmPatch()), { tags: Tagged.preserve(55799) }) as Tagged;
  expect(() => cddl.check("patch-image", wasm.value)).not.toThrow();
});

test("explain tells what a patch does, to what, and by whom", async () => {
  const text = explainPatch(writePatch(await samplePatch()));
  expect(text).toContain(
    'patch "louder" 2, for js\n  Rooms shout\n  safe while they run: Room.prototype.history\n  signed by ',
  );
  expect(text).toContain("module chat/rooms.ts\n  base   ");
  expect(text).toContain("  symbol said: module let\n");
  expect(text).toContain("  replaces Room.prototype.say: method of 1\n    old ");
  expect(text).toContain("    | f(text        ) { said++; return text.toUpperCase() + seen.size; }");
  expect(text).toMatch(/ {4}at \d+ name said\n/);
});

test("a flipped bit anywhere is named", async () => {
  const image = writePatch(await samplePatch());
  for (let at = 0; at < image.length; at += 7) {
    image[at]! ^= 4;
    expect(() => readPatch(image), `byte ${at}`).toThrow(ImageError);
    image[at]! ^= 4;
  }
});

/** The sample with one part of its body changed. */
async function changed(path: readonly number[], value: unknown): Promise<Uint8Array> {
  const body = structuredClone(patchBody(await samplePatch())) as never[];
  let at: never[] = body;
  for (const index of path.slice(0, -1)) at = at[index]!;
  at[path.at(-1)!] = value as never;
  return writeImage({ kind: 3, body });
}

const BAD: readonly [path: readonly number[], value: unknown, why: string][] = [
  [[0], 2, "target: expected a whole number from 0 to 1"],
  [[1], "", "name: 0 characters, 1 to 1024 are allowed"],
  [[3], "x".repeat(4_097), "description: 4097 characters, 0 to 4096 are allowed"],
  [[5], [], "it changes no module"],
  [[6], [new Uint8Array(31), new Uint8Array(64)], "its public key is none"],
  [[6], [new Uint8Array(32), new Uint8Array(63)], "its signature is none"],
  [[5, 0, 1], new Uint8Array(31), "base: expected 32 bytes"],
  [[5, 0, 3, 0, 0], "a-b", 'a name: "a-b" is no identifier'],
  [[5, 0, 3, 0, 1], 6, "a symbol's scope: expected a whole number from 0 to 5"],
  [[5, 0, 4, 0, 1], 1, '"Room.prototype.say": expected a flag'],
  [[5, 0, 4, 0, 1], true, '"Room.prototype.say" is new and has an old hash'],
  [[5, 0, 4, 0, 8], "x".repeat((1 << 20) + 1), 'the code of "Room.prototype.say": 1048577 characters'],
  [[5, 0, 4, 0, 9, 0, 0], 10_000, 'an offset in "Room.prototype.say": expected a whole number from 0 to '],
  [[5, 0, 4, 0, 9, 0, 2], 99, 'a relocation of "chat/rooms.ts" names symbol 99'],
  [
    [5, 0, 4, 1, 0],
    "Room.prototype.say",
    'function of chat/rooms.ts "Room.prototype.say" stands there twice',
  ],
  [[5, 0, 5, 2, 0, 0], "1a", 'a name: "1a" is no identifier'],
];

test("code that is not what its hash says is refused", async () => {
  await expect(verifyPatch(sampleWasmPatch(), [])).rejects.toThrow(
    'the code for "counter.wasm" is not what its hash says',
  );
});

test("what a patch cannot say is refused", async () => {
  expect(() => readPatch(writeImage({ kind: 7, body: [] }))).toThrow("Cannot read patch: it is no patch");
  for (const [path, value, why] of BAD) {
    const image = await changed(path, value);
    expect(() => readPatch(image), why).toThrow(`Cannot read patch: ${why}`);
  }
});

test("a signed patch is trusted by who trusts the key, and by nobody once it is changed", async () => {
  const [mine, other] = await Promise.all([makePatchKeys(), makePatchKeys()]);
  const { signature: _, ...unsigned }: Patch = await samplePatch();
  const signed = readPatch(writePatch(await signPatch(unsigned, mine)));
  await verifyPatch(signed, [other.publicKey, mine.publicKey]);
  await verifyPatch(signed, []);
  await verifyPatch(unsigned, []);
  const refused = async (patch: Patch, why: string): Promise<void> => {
    await expect(verifyPatch(patch, [mine.publicKey])).rejects.toMatchObject({
      reason: "signature",
      message: expect.stringContaining(why),
    });
  };
  await refused(unsigned, "it is not signed");
  await refused(await signPatch(unsigned, other), "whom nobody trusts here");
  await refused({ ...signed, description: "Rooms whisper" }, "it is not what was signed");
  await refused({ ...signed, safe: [] }, "it is not what was signed");
  await expect(verifyPatch({ ...signed, version: "3" }, [])).rejects.toThrow("it is not what was signed");
  await expect(signPatch(unsigned, { ...mine, publicKey: other.publicKey })).rejects.toThrow(
    "it is not what was signed",
  );
  await expect(signPatch(unsigned, { ...mine, privateKey: "AAAA" })).rejects.toThrow("private key is none");
});
