import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { livePatches } from "../patching/apply/live_patches.ts";
import { derivePatch } from "../patching/build/derive.ts";
import { instrument } from "../patching/build/instrument.ts";
import { instantiatePatchable } from "../patching/wasm/wasm_state.ts";
import { type Bench, compare, interleave, roundsFor, spreadTable } from "./bench.ts";

const SMALL = `
let seen = 0;
export function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
class Meter { #sum = 0; add(value) { this.#sum = mix(this.#sum, value); return this; } get sum() { return this.#sum; } }
function mix(a, b) { seen++; return (a * 31 + b) | 0; }
export function meter(times) { const it = new Meter(); for (let i = 0; i < times; i++) it.add(i); return it.sum; }
export function closures(times) { let sum = 0; const add = (by) => { sum += by; }; for (let i = 0; i < times; i++) add(i); return sum; }
export async function waits(times) { let sum = 0; for (let i = 0; i < times; i++) sum += await later(i); return sum; }
async function later(value) { return value + 1; }
`;
/** Comments and layout aside, the same code: what a patch that is in place costs, and nothing else. */
const AGAIN = SMALL.replaceAll("return ", "return 0 || ");

/** `fib` of WebAssembly, which calls itself. */
const FIB_BODY = [
  ...[0, 0x20, 0, 0x41, 2, 0x48, 0x04, 0x7f, 0x20, 0, 0x05, 0x20, 0, 0x41, 1, 0x6b, 0x10, 0],
  ...[0x20, 0, 0x41, 2, 0x6b, 0x10, 0, 0x6a, 0x0b, 0x0b],
];
const FIB = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 7, 1, 3],
  ...[0x66, 0x69, 0x62, 0, 0, 10, FIB_BODY.length + 2, 1, FIB_BODY.length, ...FIB_BODY],
]);

type Small = Record<"fib" | "meter" | "closures", (n: number) => number> & {
  waits(n: number): Promise<number>;
};
type Acorn = { parse(text: string, options: object): { end: number } };

/** What it costs that modules can be patched, and are; and how long a patch takes. */
export const bench: Bench = {
  takes: "half a minute",
  async *run(options) {
    const folder = mkdtempSync(join(tmpdir(), "torpor-bench-"));
    try {
      const load = async (name: string, code: string): Promise<unknown> => {
        const path = join(folder, name);
        writeFileSync(path, code);
        return await import(pathToFileURL(path).href);
      };
      const plain = await load("plain.mjs", SMALL) as Small;
      const ready = await load("ready.mjs", instrument("ready.js", SMALL).code) as Small;
      const patched = await load("patched.mjs", instrument("patched.js", SMALL).code) as Small;
      const { patch } = derivePatch("patched.js", SMALL, AGAIN, { name: "again" });
      await livePatches.apply(patch!);
      const cases = <T>(run: (module: Small) => T): Record<string, () => T> => ({
        "as it is": () => run(plain),
        "patchable": () => run(ready),
        "patched, all of it": () => run(patched),
      });
      yield await compare("a function that calls itself 21,891 times", cases(({ fib }) => fib(20)), options);
      yield await compare(
        "10,000 calls of a method with private state",
        cases(({ meter }) => meter(10_000)),
        options,
      );
      yield await compare("10,000 calls of a closure", cases(({ closures }) => closures(10_000)), options);
      const waits = await interleave(
        Object.fromEntries(
          Object.entries(cases(({ waits }) => waits)).map(([name, get]) => [name, async () => {
            const start = performance.now();
            await get()(options.quick ? 100 : 20_000);
            return performance.now() - start;
          }]),
        ),
        roundsFor(options),
      );
      yield spreadTable("20,000 awaited calls of an async function", "ms", waits);
      const source = readFileSync(join(process.cwd(), "node_modules/acorn/dist/acorn.mjs"), "utf8");
      const same = await load("acorn.mjs", source) as Acorn;
      const { code, patchable } = instrument("acorn.mjs", source);
      const acornReady = await load("acorn_ready.mjs", code) as Acorn;
      const parse = ({ parse }: Acorn): number =>
        parse(source, { ecmaVersion: "latest", sourceType: "module" }).end;
      yield await compare(
        "acorn parses itself, 230 KB",
        {
          "as it is": () => parse(same),
          "patchable": () => parse(acornReady),
        },
        options,
        { notes: [`${patchable} functions, each with a slot`] },
      );
      const wasm = (await WebAssembly.instantiate(FIB)).instance.exports as unknown as Small;
      const wasmReady = (await instantiatePatchable("fib.wasm", FIB)).exports as unknown as Small;
      yield await compare("WebAssembly that calls itself 21,891 times", {
        "as it is": () => wasm.fib(20),
        "patchable": () => wasmReady.fib(20),
      }, options);
      await livePatches.rollback();
      const measured = await interleave(
        Object.fromEntries(
          ["check and compile", "switch", "roll back"].map((what) => [what, async () => {
            const { tookMs } = await livePatches.apply(patch!);
            const start = performance.now();
            await livePatches.rollback();
            const back = performance.now() - start;
            return what === "switch" ? tookMs.switch : what === "roll back" ? back : tookMs.stage;
          }]),
        ),
        roundsFor(options),
      );
      yield spreadTable("a patch of nine functions", "ms", measured, [
        "rolling back waits for a turn of its own",
      ]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
