import { type Bench, interleave, ratio, roundsFor, spreadOf } from "./bench.ts";
import { BareStacks } from "./packets/bare_stacks.ts";

const SIZES = [10, 10_000, 1_000_000];
const SIZES_QUICK = [10, 1_000];
const SIZES_FULL = [10, 10_000, 10_000_000];
const ROUND_MS = 400;
const ROUND_MS_QUICK = 20;

/** What a packet costs beside how many connections that do nothing: it must be the same. */
export const bench: Bench = {
  async *run(options) {
    const sizes = options.quick ? SIZES_QUICK : options.full ? SIZES_FULL : SIZES;
    const roundMs = options.quick ? ROUND_MS_QUICK : ROUND_MS;
    const cases = sizes.map((size) => {
      const stacks = new BareStacks(64, { timeWaitMs: 1 }, size + 1_000);
      stacks.crowd(size);
      return [size.toLocaleString("en-US"), () => {
        const { packets, elapsedMs } = stacks.fan(roundMs);
        return elapsedMs * 1e6 / packets;
      }] as const;
    });
    const results = await interleave(Object.fromEntries(cases), roundsFor(options));
    const spreads = Object.entries(results).map(([name, ns]) => [name, spreadOf(ns)] as const);
    yield {
      title: "one packet, by connections in the map",
      columns: ["", "ns", "ratio"],
      rows: spreads.map(([name, spread]) => [name, spread, ratio(spread.median, spreads[0]![1].median)]),
      notes: [
        "Round trips of one byte between two bare stacks, on 64 connections in turn, so that each packet is looked up.",
      ],
    };
  },
};
