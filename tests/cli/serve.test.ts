import { existsSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { FileStore } from "../../checkpoint/store/file_store.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { torpor } from "./run.ts";

test("torpor serve that cannot start leaves its socket and its store to the next", async () => {
  using folder = new TemporaryFolder();
  const [module, wire, connections] = ["server.mjs", "wire", "store"].map((name) => folder.file(name));
  writeFileSync(module!, "export default { fetch: () => new Response() };\n");
  const options = ["--unix", wire!, "--store", connections!, "--address", "10.7.0.300/24"];
  expect(await torpor(["serve", module!, ...options])).toMatchObject({
    code: 2,
    err: expect.stringContaining('Found "10.7.0.300/24"'),
  });
  expect(existsSync(wire!)).toBe(false);
  await (await FileStore.open(connections!)).close();
});
