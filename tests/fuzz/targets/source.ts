import { assert } from "../../../base/assert.ts";
import { derivePatch } from "../../../patching/build/derive.ts";
import { patchFromSource } from "../../../patching/build/from_source.ts";
import { instrument } from "../../../patching/build/instrument.ts";
import { parseSource } from "../../../patching/build/source.ts";
import { readPatch, writePatch } from "../../../patching/image/patch_image.ts";
import { PatchError } from "../../../patching/patch_error.ts";
import { equalBytes } from "../equal.ts";
import { orRefuses } from "../refuses.ts";
import type { Target } from "../target.ts";

const ABOUT = { name: "p" };

/** Two sources with a zero byte between them. Nothing of them runs: they are parsed, and patches of them written. */
function source(input: Uint8Array<ArrayBuffer>): void {
  const [older = "", newer = ""] = new TextDecoder().decode(input).split("\0");
  const { value: made } = orRefuses(PatchError, () => instrument("m.js", older));
  if (made === undefined) return;
  assert(
    made.code.split("\n").length === older.split("\n").length,
    "Lines stay where they are",
  );
  parseSource("m.js", made.code);
  const { value: same } = orRefuses(PatchError, () => derivePatch("m.js", older, older, ABOUT));
  assert(same === undefined || same.patch === undefined, "What has not changed needs no patch");
  for (const make of [derivePatch, patchFromSource]) {
    const { value: derived } = orRefuses(PatchError, () => make("m.js", older, newer, ABOUT));
    if (derived?.patch === undefined) continue;
    const image = writePatch(derived.patch);
    equalBytes(writePatch(readPatch(image)), image, "written, read and written again");
  }
}

const SOURCES = [
  [
    "let n = 0;\nexport function f(a, b = 1) { return n += a + b; }\nconst g = (x) => this ?? x;\n",
    "let n = 0;\nexport function f(a, b = 1) { return n -= a + b; }\nconst g = (x) => [x];\n",
  ],
  [
    "class A { #p = 1; static s = 2; get v() { return this.#p; } m() { return super.toString(); } }\nexport default A;",
    "class A { m() { return 7; } }",
  ],
  [
    "export const f = async () => { for await (const a of b()) yield_(a); };",
    "function* b() { yield 1; }\nlet c;",
  ],
  [
    "#!/usr/bin/env node\nimport { x } from 'y';\nfunction f() { return () => x; }",
    "import z from 'y';\nfunction f() {}",
  ],
];

export const targets: readonly Target[] = [
  {
    name: "patch/source",
    about:
      "sources and what patches make of them: refused with a typed error, or code that parses and a patch that is read",
    run: source,
    seeds: () => SOURCES.map((texts) => new TextEncoder().encode(texts.join("\0"))),
    dictionary: [
      ...[
        "function ",
        "async ",
        "class ",
        "static ",
        "export ",
        "default ",
        "import ",
        "const ",
        "let ",
        "var ",
      ],
      ...[
        "=>",
        "...",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "`${",
        "`",
        "this",
        "super",
        "arguments",
        "await ",
        "yield ",
      ],
      ...[
        "#p",
        "get ",
        "set ",
        "new.target",
        "eval",
        "\0",
        "\n",
        ";",
        "//",
        "/*",
        "*/",
        "?.",
        "=",
        "extends ",
      ],
    ],
    allocationMax: (length) => (1 << 22) + 8_192 * length,
  },
];
