/**
 * Appends and removes without end, to be killed: `churn.ts FOLDER SEED`. Each line on standard output
 * is a fact that holds from then on, whatever happens: `+id` and `-id` when the call had returned
 * (the process's death cannot undo it).
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { Prng } from "../../../base/random.ts";
import { FileStore } from "../../../checkpoint/store/file_store.ts";
import { record } from "./world.ts";

const [folder, seed] = process.argv.slice(-2) as [string, string];
const prng = new Prng(Number(seed));
const store = await FileStore.open(folder, { segmentBytes: 20_000 });
const live = new Map<number, number>();
let next = 0;
for (const { location, bytes } of store.live()) {
  const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  live.set(id, location);
  next = Math.max(next, id + 1);
}
for (;;) {
  if (prng.chance(0.6) || live.size < 20) {
    const ids = Array.from({ length: prng.between(1, 20) }, () => next++);
    const { locations } = store.append(ids.map(record));
    for (const [index, id] of ids.entries()) live.set(id, locations[index]!);
    writeSync(1, ids.map((id) => `+${id}\n`).join(""));
  } else {
    const ids = [...live.keys()].slice(0, prng.between(1, 20));
    writeSync(1, ids.map((id) => `?${id}\n`).join("")); // about to go
    store.remove(ids.map((id) => live.get(id)!));
    writeSync(1, ids.map((id) => `-${id}\n`).join(""));
    for (const id of ids) live.delete(id);
  }
  if (prng.chance(0.3)) await store.sync();
}
