import { copyBytes, Slab } from "../base/slab.ts";
import { foldSum, sumWords } from "../net/wire/checksum.ts";
import { type Bench, compare } from "./bench.ts";

const SIZES = [40, 200, 1_460, 16_384];

/** What summing and moving a packet costs, in the packet memory and elsewhere (decision 31). */
export const bench: Bench = {
  async *run(options) {
    const own = Slab.of(40_000), shared = Slab.forPackets(40_000);
    for (const slab of [own, shared]) for (let at = 0; at < 40_000; at++) slab.bytes[at] = at * 7;
    for (const size of SIZES) {
      yield await compare(`the checksum of ${size} bytes`, {
        "usual memory": () => foldSum(sumWords(own, 100, 100 + size, 0)),
        "packet memory": () => foldSum(sumWords(shared, 100, 100 + size, 0)),
      }, options);
      yield await compare(`moving ${size} bytes`, {
        "set(), with a view of the source": () => own.bytes.set(own.bytes.subarray(100, 100 + size), 20_000),
        "copyWithin()": () => void own.bytes.copyWithin(20_000, 100, 100 + size),
        "copyBytes(), usual memory": () => copyBytes(own, 100, own, 20_000, size),
        "copyBytes(), packet memory": () => copyBytes(shared, 100, shared, 20_000, size),
      }, options);
    }
  },
};
