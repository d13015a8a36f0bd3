import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NetworkNamespace } from "../support/netns.ts";

/** What nft made of a rule file: its JSON listing, or what it said. */
export type Listed = { readonly json: unknown; readonly error?: undefined } | { readonly error: string };

/** Loads each text (or JSON document) by itself into the kernel, in a namespace with interfaces of those names. */
export function loadWithNft(documents: readonly string[], json = false): Listed[] {
  using netns = new NetworkNamespace();
  netns.run("ip", "link", "add", "tun0", "type", "veth", "peer", "name", "eth1");
  const folder = mkdtempSync(join(tmpdir(), "torpor-nft-"));
  try {
    documents.forEach((text, at) => writeFileSync(join(folder, `${at}.nft`), text));
    const flag = json ? "-j" : "";
    netns.run(
      "sh",
      "-c",
      `cd ${folder} && for at in $(seq 0 ${documents.length - 1}); do nft ${flag} -f $at.nft 2> $at.err && ` +
        `nft -j list ruleset > $at.json 2>> $at.err || rm -f $at.json; nft flush ruleset; done`,
    );
    return documents.map((_, at) => {
      try {
        return { json: JSON.parse(readFileSync(join(folder, `${at}.json`), "utf8")) };
      } catch {
        return { error: readFileSync(join(folder, `${at}.err`), "utf8") };
      }
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
