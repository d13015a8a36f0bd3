import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { foldConstants } from "./fold.ts";
import { type Manifest, npmManifest } from "./manifest.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const PAGES = ["README.md", "CHANGELOG.md", "LICENSE"];

/**
 * Makes the npm package: JavaScript and types of every module, in `dist/npm`, and a tarball of that beside it.
 * Nothing is bundled: the files are those of the repository, but that names of constants are numbers.
 * @returns The tarball's path.
 */
export function pack(): string {
  const built = join(ROOT, "dist/npm");
  compile(built);
  const ours = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest;
  writeFileSync(join(built, "package.json"), `${JSON.stringify(npmManifest(ours), undefined, 2)}\n`);
  for (const path of readdirSync(join(ROOT, "serve"), { recursive: true, encoding: "utf8" })) {
    if (/\.(html|css|js)$/.test(path)) {
      cpSync(join(ROOT, "serve", path), join(built, "serve", path), { force: false, errorOnExist: true });
    }
  }
  for (const page of PAGES) cpSync(join(ROOT, page), join(built, page));
  const [packed] = JSON.parse(
    run("npm", ["pack", built, "--json", "--pack-destination", join(ROOT, "dist")]),
  ) as { filename: string }[];
  return join(ROOT, "dist", packed!.filename.replace("@", "").replace("/", "-"));
}

/** Writes what the package has of every module into a folder, which is emptied before. */
export function compile(built: string): void {
  rmSync(built, { recursive: true, force: true });
  mkdirSync(built, { recursive: true });
  const options = ["-p", join(ROOT, "packaging/tsconfig.json"), "--outDir", built];
  run(join(ROOT, "node_modules/.bin/tsc"), options);
  foldConstants(built, ROOT);
}

function run(program: string, args: readonly string[]): string {
  return execFileSync(program, args, {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    env: process.env,
  });
}
