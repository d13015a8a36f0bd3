import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Fuzzer } from "./fuzzer.ts";
import { readKept } from "./kept.ts";
import { everyTarget } from "./targets.ts";

/** Beyond the kept corpus, without instrumentation: a word with every target, no campaign. */
const RUNS = 120;

test.each(everyTarget.map(({ target }) => target))(
  "$name: what has been kept, and a few changes to it, crash nothing",
  async (target) => {
    const fuzzer = new Fuzzer(target, 1);
    await fuzzer.seed([...target.seeds(), ...readKept(target.name)]);
    await fuzzer.run(fuzzer.runs + RUNS);
    const crashes = [...fuzzer.crashes.values()].map(({ input, error }) => ({ input: [...input], error }));
    expect(crashes, `seed 1, ${fuzzer.runs} runs`).toEqual([]);
    expect(fuzzer.runs).toBeGreaterThanOrEqual(RUNS);
  },
);

test("targets have names of their own", () => {
  const names = everyTarget.map(({ target }) => target.name);
  expect(new Set(names).size).toBe(names.length);
});

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const AREAS = ["base", "net", "checkpoint", "patching", "serve", "cli"];
/** What looks like a decoder: functions by their names, and whoever reads numbers out of bytes, or JSON. */
const DECODES =
  /^export (?:async )?function\*? (?:read|parse|decode)\w*|JSON\.parse\(|\bgetUint(?:8|16|32)\(/m;
/** Files in which something decodes that no target reaches, and why none need to. */
const NOT_FUZZED: Readonly<Record<string, string>> = {
  "net/link/datagram_train.ts": "datagrams that this stack has composed",
  "net/link/tun.ts": "the kernel's answers to calls; headers and packets are link/vnet's",
  "net/socket/dns/codec_page.ts": "decodes nothing: a page has no name servers",
  "net/socket/host.ts": "an address out of entropy",
  "checkpoint/appliances/disk/open_tree.ts": "files and streams, whose bytes are appliances/tar's",
  "patching/apply/patch_folder.ts": "files, whose bytes are patch/image's",
  "serve/launch/container/machine.ts": "twenty bytes at fixed places",
  "cli/arguments.ts": "node:util's parseArgs",
  "cli/replay/options.ts": "node:util's parseArgs; conditions are text/setting's",
};

test("every file that decodes something is behind a target, or has a reason", () => {
  const reached = new Set<string>();
  const visit = (path: string): void => {
    if (reached.has(path) || !existsSync(path)) return;
    reached.add(path);
    const imports =
      /^(?:import|export)(?! type )[^;]*? from "(\.[^"]+)"|^import "(\.[^"]+)"|import\("(\.[^"]+)"\)/gm;
    for (const [, from, bare, lazy] of readFileSync(path, "utf8").matchAll(imports)) {
      visit(join(path, "..", (from ?? bare ?? lazy)!));
    }
  };
  for (const name of readdirSync(join(ROOT, "tests/fuzz/targets"))) {
    visit(join(ROOT, "tests/fuzz/targets", name));
  }
  const files = AREAS.flatMap((area) =>
    readdirSync(join(ROOT, area), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts")).map((name) => join(ROOT, area, name))
  );
  const missing = files.filter((path) => !reached.has(path) && DECODES.test(readFileSync(path, "utf8")))
    .map((path) => relative(ROOT, path).replaceAll("\\", "/"));
  expect(missing.sort()).toEqual(Object.keys(NOT_FUZZED).sort());
});
