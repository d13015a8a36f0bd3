import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { FileStore } from "../../../checkpoint/store/file_store.ts";
import { record } from "./world.ts";

const CHURN = fileURLToPath(new URL("churn.ts", import.meta.url));

/** How the current runtime runs a TypeScript file. */
function runtimeArguments(): string[] {
  if ("Deno" in globalThis) return ["run", "-A", CHURN];
  return "Bun" in globalThis ? [CHURN] : ["--import", "tsx", CHURN];
}

/** Runs the churn until it has said `lines` lines, kills it, and returns all that it said. */
function killedAfter(lines: number, folder: string, seed: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...runtimeArguments(), folder, `${seed}`], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    let wrong = "";
    let count = 0;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      count += text.split("\n").length - 1;
      if (count >= lines) child.kill("SIGKILL");
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => wrong += text);
    child.on("close", (_code, signal) => signal === "SIGKILL" ? resolve(said) : reject(new Error(wrong)));
  });
}

test(
  "a process killed at random moments loses nothing that append() or remove() had returned for",
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const prng = new Prng(seed);
    const folder = mkdtempSync(join(tmpdir(), "torpor-kill-"));
    const live = new Set<number>();
    try {
      for (let life = 0; life < 3; life++) {
        const told = `seed ${seed}, life ${life}`;
        const said = await killedAfter(prng.between(1, 3000), folder, seed + life);
        const doubtful = new Set<number>();
        for (const line of said.slice(0, said.lastIndexOf("\n")).split("\n")) {
          const id = Number(line.slice(1));
          if (line[0] === "+") live.add(id);
          else if (line[0] === "?") doubtful.add(id);
          else {
            live.delete(id);
            doubtful.delete(id);
          }
        }
        const store = await FileStore.open(folder, { segmentBytes: 20_000 });
        const found = new Set<number>();
        for (const { bytes } of store.live()) {
          const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
          expect(bytes, told).toEqual(record(id));
          found.add(id);
        }
        for (const id of live) {
          if (!doubtful.has(id)) {
            expect(found.has(id), `${told}: ${id} is lost`).toBe(true);
          }
        }
        const newest = Math.max(-1, ...live);
        for (const id of found) {
          // An append that was written and not yet told of is newer than all.
          expect(live.has(id) || id > newest, `${told}: ${id} came back`).toBe(true);
        }
        await store.close();
        live.clear();
        for (const id of found) live.add(id);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  60_000,
);
