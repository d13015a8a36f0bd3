import { expect, test } from "vitest";
import { ownScripts } from "./corpus.ts";
import { judge, showOutcome } from "./report.ts";
import { ipVersions } from "./script.ts";

const MODES = [
  { strict: false, sleep: false },
  { strict: true, sleep: false },
  { strict: false, sleep: true },
  { strict: true, sleep: true },
];

for (const { name, text } of ownScripts()) {
  test(`${name} passes, strictly and asleep too, over every IP version`, () => {
    for (const mode of MODES) {
      for (const ip of ipVersions) {
        const outcome = judge(name, text, { ...mode, ip, flags: [] });
        if (outcome === undefined) continue; // for another IP version
        expect(outcome.verdict, `${ip} ${JSON.stringify(mode)} ${showOutcome(outcome)}`).toBe("passed");
        // Only what is established sleeps; a script that does not sleep shows nothing about it.
        if (mode.sleep && /\baccept\(/.test(text)) expect(outcome.sleeps).toBeGreaterThan(0);
      }
    }
  });
}
