/** What we use of a package.json. */
export interface Manifest {
  name: string;
  version: string;
  description: string;
  license: string;
  engines: Record<string, string>;
  browser: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
}

/** The folders whose modules are reached by their own path, named as they are in the repository and on JSR: `.ts`. */
const FOLDERS = ["base", "net", "checkpoint", "patching", "serve"];

/**
 * What only some need: `openTun` on Node asks for koffi, and says so when it is not there (Deno and Bun have FFI of their
 * own); `serveMqtt` asks for mqtt-packet; what makes modules patchable, and builds patches, for parsers.
 */
const WHEN_ASKED = [
  ...["koffi", "mqtt-packet"],
  ...["acorn", "eslint-scope", "magic-string", "@swc/wasm-typescript"],
];

/** The package.json of the npm package: that of the repository, whose modules have become JavaScript. */
export function npmManifest(ours: Manifest): Record<string, unknown> {
  const { name, version, description, license, engines, dependencies } = ours;
  const file = (path: string): Record<string, string> => ({
    types: `./${path}.d.ts`,
    default: `./${path}.js`,
  });
  return {
    name,
    version,
    description,
    license,
    type: "module",
    engines,
    sideEffects: false,
    bin: { torpor: "./cli/torpor.js" },
    exports: {
      ".": { types: "./mod.d.ts", browser: "./browser.js", default: "./mod.js" },
      "./browser": file("browser"),
      "./net": file("net/mod"),
      "./checkpoint": file("checkpoint/mod"),
      "./patching": file("patching/mod"),
      ...Object.fromEntries(FOLDERS.map((folder) => [`./${folder}/*.ts`, file(`${folder}/*`)])),
      "./package.json": "./package.json",
    },
    browser: Object.fromEntries(
      Object.entries(ours.browser).map(([from, to]) => [builtName(from), builtName(to)]),
    ),
    dependencies,
    peerDependencies: Object.fromEntries(WHEN_ASKED.map((each) => [each, ours.devDependencies[each]])),
    peerDependenciesMeta: Object.fromEntries(WHEN_ASKED.map((each) => [each, { optional: true }])),
  };
}

function builtName(path: string): string {
  return path.replace(/\.ts$/, ".js");
}
