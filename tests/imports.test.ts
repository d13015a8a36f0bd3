import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { checkFile, COMPUTED, type ImportRule, scan } from "./import_rules.ts";

const EVERYWHERE = ["base/", "net/", "checkpoint/", "patching/", "serve/", "cli/", "examples/", "mod.ts"];
/** Time, chance, waiting, and whatever belongs to one runtime. */
const OUTSIDE_WORLD = [
  ...["Date", "performance", "Temporal", "setTimeout", "setInterval", "setImmediate", "queueMicrotask"],
  ...["Math.random", "crypto", "Promise", "async", "await", "fetch"],
  ...["Deno", "Bun", "process", "Buffer", "require", "globalThis"],
];

/** base <- net <- checkpoint <- patching <- mod.ts, cli, and what only the edges may touch. */
const RULES: readonly ImportRule[] = [
  { rule: "base imports nothing of ours", of: ["base/"], ours: ["base/"] },
  { rule: "net imports only base", of: ["net/"], ours: ["base/", "net/"] },
  {
    rule: "checkpoint imports only base and net",
    of: ["checkpoint/"],
    ours: ["base/", "net/", "checkpoint/"],
  },
  {
    rule: "patching imports only base, net and checkpoint",
    of: ["patching/"],
    ours: ["base/", "net/", "checkpoint/", "patching/"],
  },
  {
    rule: "serve imports only base, net and checkpoint",
    of: ["serve/"],
    ours: ["base/", "net/", "checkpoint/", "serve/"],
  },
  {
    rule: "images can be used alone: checkpoint/image imports only base",
    of: ["checkpoint/image/"],
    ours: ["base/", "checkpoint/image/"],
  },
  {
    rule: "a store can be used without sockets: checkpoint/store imports only base and the image format",
    of: ["checkpoint/store/"],
    ours: ["base/", "checkpoint/image/", "checkpoint/store/"],
  },
  {
    rule: "nothing imports the command line, examples, tests or benches",
    of: ["mod.ts", "cli/"],
    ours: ["base/", "net/", "checkpoint/", "patching/", "serve/", "mod.ts", "cli/"],
  },
  {
    rule: "mod.ts does not import the command line",
    of: ["mod.ts"],
    ours: EVERYWHERE.filter((each) => each !== "cli/"),
  },
  {
    rule: "examples import only mod.ts and serve",
    of: ["examples/"],
    ours: ["mod.ts", "serve/", "examples/"],
  },
  {
    rule: "the core does no I/O and takes no clock, chance or promise",
    of: ["net/"],
    except: ["net/link/", "net/socket/", "net/shards/", "net/mod.ts"],
    ours: ["base/", "net/"],
    others: [],
    names: OUTSIDE_WORLD,
  },
  {
    rule: "the core computes the same on every engine, to the last bit",
    of: ["net/", "base/"],
    except: ["net/link/", "net/socket/", "net/shards/"],
    names: [
      ...[
        "Math.cbrt",
        "Math.pow",
        "Math.exp",
        "Math.expm1",
        "Math.log",
        "Math.log2",
        "Math.log10",
        "Math.log1p",
      ],
      ...[
        "Math.sin",
        "Math.cos",
        "Math.tan",
        "Math.atan",
        "Math.atan2",
        "Math.sinh",
        "Math.tanh",
        "Math.hypot",
      ],
    ],
  },
  {
    rule: "the core knows links only as an interface, and no sockets",
    of: ["net/"],
    except: ["net/link/", "net/socket/", "net/shards/", "net/mod.ts"],
    ours: [
      ...["base/", "net/stack.ts", "net/link/link.ts", "net/wire/", "net/ip/", "net/connections/"],
      ...["net/firewall/", "net/wake/", "net/tcp/", "net/udp/", "net/dhcp/"],
    ],
  },
  {
    rule: "the core's base imports nothing and takes no clock",
    of: ["base/"],
    except: ["base/runtime", "base/clock.ts", "base/random.ts"],
    others: [],
    names: OUTSIDE_WORLD,
  },
  {
    rule: "clock and entropy use what every runtime has",
    of: ["base/clock.ts", "base/random.ts"],
    others: [],
  },
  {
    rule:
      "the runtime is touched only in base/runtime, net/link, net/shards, checkpoint/store, handover and control, files of replay and archive, disks of appliances, patching's build and load, serve, cli and examples",
    of: EVERYWHERE,
    except: [
      ...[
        "base/runtime",
        "net/link/",
        "net/socket/",
        "net/shards/",
        "checkpoint/store/",
        "checkpoint/handover/",
        "checkpoint/control/",
        "checkpoint/archive/archive_file.ts",
        "checkpoint/replay/replay_file.ts",
        "checkpoint/appliances/disk/",
        "patching/build/",
        "patching/load/",
        "patching/apply/patch_folder.ts",
      ],
      ...["serve/", "cli/", "examples/"],
    ],
    never: ["node:*", "bun", "bun:*", "koffi", COMPUTED],
  },
  {
    rule: "shards are threads, one for each core, and nothing else",
    of: ["net/shards/"],
    others: ["node:worker_threads", "node:os"],
  },
  {
    rule: "sockets touch the runtime only through node:stream",
    of: ["net/socket/"],
    except: ["net/socket/dns/codec.ts"],
    others: ["node:stream", "eventemitter3"],
  },
  {
    rule: "what is asked of a connection goes through Stack.calls, where a recorder hears it",
    of: ["net/socket/", "checkpoint/sleep/", "checkpoint/recover.ts"],
    names: [
      ...[
        "tcpConnect",
        "tcpSend",
        "tcpSendUrgent",
        "tcpSendAll",
        "tcpSendRecord",
        "tcpReceive",
        "tcpShutdown",
        "tcpClose",
      ],
      ...["tcpAbort", "tcpSetNoDelay", "tcpSetKeepAlive", "tcpSetOptions", "tcpSetCongestionControl"],
      ...["tcpSetReceiveBuffer", "tcpSetSendBuffer", "tcpSetListener", "tcpWantDrained", "freezeTcb"],
    ],
  },
  {
    rule: "how DNS messages are written is a library's business, and one file's",
    of: ["net/socket/dns/codec.ts"],
    others: ["node:buffer", "dns-packet"],
  },
];

const ROOT = new URL("../", import.meta.url);

function sources(): string[] {
  const found: string[] = [];
  for (const top of EVERYWHERE) {
    if (top.endsWith(".ts")) {
      found.push(top);
      continue;
    }
    let names: string[];
    try {
      names = readdirSync(new URL(top, ROOT), { recursive: true, encoding: "utf8" });
    } catch {
      continue; // an area that does not exist yet
    }
    for (const name of names) if (name.endsWith(".ts")) found.push(top + name.replaceAll("\\", "/"));
  }
  return found.sort();
}

test("Every import runs in the direction of the architecture", () => {
  const paths = sources();
  expect(paths).toContain("mod.ts");
  expect(paths).toContain("net/link/link.ts");
  const failures = paths.flatMap((path) =>
    checkFile(RULES, path, readFileSync(fileURLToPath(new URL(path, ROOT)), "utf8"))
  );
  expect(failures).toEqual([]);
});

test("Every import of ours names a .ts file that exists", () => {
  const paths = new Set(sources());
  const anyFile: ImportRule = { rule: "exists", of: EVERYWHERE, ours: [] };
  const missing = [...paths].flatMap((path) =>
    checkFile(
      [{ ...anyFile, ours: [...paths] }],
      path,
      readFileSync(fileURLToPath(new URL(path, ROOT)), "utf8"),
    )
  );
  expect(missing).toEqual([]);
});

/** Made-up sources, each with the number of the line that must be found and a word of the rule. */
const BAD: Record<string, [path: string, source: string, line: number, rule: string]> = {
  "an arrow from base upward": ["base/x.ts", `\nimport { a } from "../net/a.ts";`, 2, "base imports nothing"],
  "an arrow from net to checkpoint": [
    "net/tcp/x.ts",
    `import "../../checkpoint/mod.ts";`,
    1,
    "net imports only",
  ],
  "a re-export": ["net/mod.ts", `export * from "../patching/mod.ts";`, 1, "net imports only"],
  "a type import": ["net/mod.ts", `import type { A } from "../mod.ts";`, 1, "net imports only"],
  "a type in an expression": ["net/mod.ts", `let a: import("../mod.ts").A;`, 1, "net imports only"],
  "an import over several lines": [
    "net/mod.ts",
    `import {\n  a, // "b"\n  type C,\n} from\n  '../cli/x.ts';`,
    5,
    "net imports only",
  ],
  "a dynamic import": ["net/mod.ts", `const a = await import( "../cli/x.ts" );`, 1, "net imports only"],
  "a detour": ["net/mod.ts", `import "./tcp/../../checkpoint/mod.ts";`, 1, "net imports only"],
  "an import of the package by its own name": [
    "net/mod.ts",
    `import "@torpor/torpor/checkpoint/mod.ts";`,
    1,
    "net imports only",
  ],
  "an arrow from checkpoint to patching": [
    "checkpoint/recover.ts",
    `import "../patching/mod.ts";`,
    1,
    "checkpoint imports only",
  ],
  "an arrow from patching to the command line": [
    "patching/apply/x.ts",
    `import "../../cli/x.ts";`,
    1,
    "patching imports",
  ],
  "an image that knows sockets": [
    "checkpoint/image/x.ts",
    `import "../../net/mod.ts";`,
    1,
    "images can be used",
  ],
  "an image that knows stores": [
    "checkpoint/image/x.ts",
    `import "../store/mod.ts";`,
    1,
    "images can be used",
  ],
  "a store that knows sockets": [
    "checkpoint/store/x.ts",
    `import "../sockets/x.ts";`,
    1,
    "a store can be used",
  ],
  "mod.ts that knows the command line": ["mod.ts", `export * from "./cli/main.ts";`, 1, "command line"],
  "a command that imports a test": ["cli/x.ts", `import "../tests/x.ts";`, 1, "nothing imports"],
  "a server that knows the command line": ["serve/x.ts", `import "../cli/main.ts";`, 1, "serve imports only"],
  "an example behind the scenes": ["examples/x.ts", `import "../net/mod.ts";`, 1, "examples import only"],
  "a clock in the core": ["net/tcp/x.ts", `// Date\nconst now = Date.now();`, 2, "the core does no I/O"],
  "chance in the core": ["net/ip/x.ts", `const isn = Math\n  .random();`, 1, "the core does no I/O"],
  "a promise type in the core": ["net/wake/x.ts", `declare let a: Promise<void>;`, 1, "the core does no I/O"],
  "an async function in the core": ["net/stack.ts", `const a = async () => {};`, 1, "the core does no I/O"],
  "a timer inside a template": ["net/udp/x.ts", "`${`a`}${setTimeout(b)}`", 1, "the core does no I/O"],
  "a name behind a regular expression": ["net/udp/x.ts", `a(/[/"]/, 1); crypto;`, 1, "the core does no I/O"],
  "a name behind a division": ["net/udp/x.ts", `a = b / c; crypto; d / e;`, 1, "the core does no I/O"],
  "an engine's own idea of a root": [
    "net/tcp/x.ts",
    `const k = Math.cbrt(x);`,
    1,
    "the core computes the same",
  ],
  "a package in the core": ["net/wire/x.ts", `import "eventemitter3";`, 1, "the core does no I/O"],
  "a device in the core": ["net/stack.ts", `import "./link/unix.ts";`, 1, "links only as an interface"],
  "a socket in the core": ["net/tcp/x.ts", `import "../socket/x.ts";`, 1, "links only as an interface"],
  "a clock in the base": ["base/x.ts", `performance.now();`, 1, "the core's base"],
  "a package in the base": ["base/clock.ts", `import "node:timers";`, 1, "every runtime has"],
  "node: in an image": [
    "checkpoint/image/x.ts",
    `import { createHash } from "node:crypto";`,
    1,
    "the runtime",
  ],
  "node: in mod.ts": ["mod.ts", `import fs from "node:fs";`, 1, "the runtime"],
  "FFI in patching": ["patching/x.ts", `import koffi from "koffi";`, 1, "the runtime"],
  "FFI of Bun": ["checkpoint/x.ts", `const ffi = await import("bun:ffi");`, 1, "the runtime"],
  "a require": ["checkpoint/x.ts", `const fs = require("node:fs");`, 1, "the runtime"],
  "a builtin by the back door": ["checkpoint/x.ts", `process.getBuiltinModule("node:fs");`, 1, "the runtime"],
  "an import that is computed": ["checkpoint/x.ts", `await import(name);`, 1, "the runtime"],
  "a file from a socket": ["net/socket/x.ts", `import fs from "node:fs";`, 1, "only through node:stream"],
  "a file from a shard": ["net/shards/x.ts", `import fs from "node:fs";`, 1, "shards are threads"],
  "a call that no recorder hears": ["net/socket/x.ts", `tcpSend(tcp, tcb, bytes, 0, 1);`, 1, "Stack.calls"],
  "a socket in DNS messages": ["net/socket/dns/codec.ts", `import "node:dgram";`, 1, "how DNS messages"],
};

test("The checker finds every kind of breach, with its file, line and rule", () => {
  for (const [name, [path, source, line, rule]] of Object.entries(BAD)) {
    const failures = checkFile(RULES, path, source);
    expect(failures.filter((failure) => failure.includes(rule)).length, `${name}: ${failures}`).toBe(1);
    expect(failures.find((failure) => failure.includes(rule)), name).toMatch(
      new RegExp(`^${path}:${line}: `),
    );
  }
});

const GOOD: Record<string, [path: string, source: string]> = {
  "arrows downward": [
    "checkpoint/x.ts",
    `import "../net/mod.ts"; import "../base/clock.ts"; import "./store/mod.ts";`,
  ],
  "a comment": ["net/tcp/x.ts", `/* import "node:fs"; Date */ // async "`],
  "a string": [
    "net/tcp/x.ts",
    `const a = "import 'node:fs'; Date.now()" + 'it\\'s Date' + \`Date \${1} async\`;`,
  ],
  "the word from before a template's text": ["net/tcp/x.ts", "const a = `${from} > ${b.import} c`;"],
  "a regular expression": ["net/tcp/x.ts", `const a = /"Date\\/[/"]/.test(b) ? /async/ : c;`],
  "a longer name": [
    "net/tcp/x.ts",
    `const updateDate = validDate.Date, Dates = a.async, $Date = #crypto in b;`,
  ],
  "Array.from": ["net/tcp/x.ts", `const a = Array.from("node:fs");`],
  "import.meta": ["checkpoint/x.ts", `const a = new URL("x", import.meta.url);`],
  "packages at the edges": ["checkpoint/image/x.ts", `import { Encoder } from "cbor-x/encode";`],
  "the runtime at the edges": ["net/link/x.ts", `import { connect } from "node:net"; await import(name);`],
  "node:stream in a socket": ["net/socket/x.ts", `import { Duplex } from "node:stream"; setTimeout(a, 1);`],
};

test("The checker accepts what is allowed", () => {
  for (const [name, [path, source]] of Object.entries(GOOD)) {
    expect(checkFile(RULES, path, source), name).toEqual([]);
  }
});

test("Every rule has a made-up breach, and covers files that could break it", () => {
  for (const { rule } of RULES) {
    const breaches = Object.values(BAD).filter(([path, source]) =>
      checkFile(RULES, path, source).some((failure) => failure.endsWith(`(${rule})`))
    );
    expect(breaches.length, rule).toBeGreaterThan(0);
  }
});

test("scan() keeps every offset and line, and the strings with where they stand", () => {
  const source = "a; // x\n'b' + `c${ {d: `e`} }f` /* y\n */ / 2 / /g'/;\n";
  const { code, strings } = scan(source);
  expect(code.length).toBe(source.length);
  expect(code.split("\n").length).toBe(source.split("\n").length);
  expect([...strings.values()]).toEqual(["b", "c", "e", "f"]);
  for (const [at, text] of strings) expect(source.slice(at + 1, at + 1 + text.length)).toBe(text);
  for (const word of ["x", "y", "b", "c", "e", "f", "g"]) expect(code, word).not.toContain(word);
  for (const broken of ["'", "`${", "/*", "//", "a = /", "`", "'\\", "}"]) {
    expect(scan(broken).code.length, broken).toBe(broken.length);
  }
});
