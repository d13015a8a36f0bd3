import process from "node:process";
import { expect, test } from "vitest";
import { deno, runtime } from "../../base/runtime.ts";

test("runtime names the runtime that runs this test", () => {
  const versions = process.versions as Record<string, string | undefined>;
  const expected = versions["bun"] ? "bun" : versions["deno"] ? "deno" : "node";
  expect(runtime).toBe(expected);
});

test("deno does file work on every runtime", async () => {
  const folder = await deno.makeTempDir();
  try {
    await deno.mkdir(`${folder}/a/b`, { recursive: true });
    await deno.writeFile(`${folder}/a/bytes`, Uint8Array.of(1, 2, 3));
    const file = await deno.open(`${folder}/a/bytes`, { read: true, write: true });
    const two = new Uint8Array(2);
    expect(await file.read(two)).toBe(2);
    expect([...two]).toEqual([1, 2]);
    expect(await file.write(Uint8Array.of(9))).toBe(1);
    file.close();
    expect([...await deno.readFile(`${folder}/a/bytes`)]).toEqual([1, 2, 9]);
    await deno.truncate(`${folder}/a/bytes`, 1);
    expect((await deno.stat(`${folder}/a/bytes`)).size).toBe(1);
    await deno.rename(`${folder}/a/bytes`, `${folder}/a/moved`);
    const names: string[] = [];
    for await (const entry of deno.readDir(`${folder}/a`)) names.push(entry.name);
    expect(names.sort()).toEqual(["b", "moved"]);
    await expect(deno.stat(`${folder}/none`)).rejects.toBeInstanceOf(deno.errors.NotFound);
  } finally {
    await deno.remove(folder, { recursive: true });
  }
});

test("deno tells about the process on every runtime", () => {
  expect(deno.pid).toBe(process.pid);
  expect(deno.memoryUsage().rss).toBeGreaterThan(1 << 20);
  expect(deno.memoryUsage().heapUsed).toBeGreaterThan(0);
  expect(deno.env.get("PATH")).toBe(process.env["PATH"]);
  expect(Array.isArray(deno.args)).toBe(true);
  expect(typeof deno.exit).toBe("function");
});
