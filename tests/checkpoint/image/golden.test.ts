import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { encodeCbor } from "../../../checkpoint/image/cbor.ts";
import { readImage, writeImage } from "../../../checkpoint/image/mod.ts";
import { samples } from "./samples.ts";
import { hex } from "./values.ts";

const golden = new URL("../../golden/", import.meta.url);
const names = readdirSync(golden).filter((name) => /^image-v1-.*\.img$/.test(name));

test("images of old stay readable, and today's code writes the same bytes", () => {
  expect(names.length).toBeGreaterThanOrEqual(4);
  for (const name of names) {
    const bytes = new Uint8Array(readFileSync(new URL(name, golden)));
    const content = samples()[name.slice("image-v1-".length, -".img".length)];
    const image = readImage(bytes);
    expect(hex(writeImage(image)), name).toBe(hex(bytes));
    if (content) {
      expect(hex(encodeCbor(image.body)), name).toBe(hex(encodeCbor(content.body)));
      expect(hex(writeImage(content)), name).toBe(hex(bytes));
    }
  }
});
