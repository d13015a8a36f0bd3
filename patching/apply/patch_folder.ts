import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Patch } from "../image/patch.ts";
import { readPatch, writePatch } from "../image/patch_image.ts";
import { PatchError } from "../patch_error.ts";
import type { ApplyOptions } from "./apply_options.ts";
import { type AppliedPatch, type LivePatches, livePatches } from "./live_patches.ts";

/** What became of a patch that was written down, when its program started again. */
export interface RestoredPatch {
  /** The patch's. */
  readonly name: string;
  /** `included`: the program's source has it by now, and it is written down no more. */
  readonly became: "applied" | "included";
}

const FILE = /^(\d{6})\.patch$/;

/**
 * A folder, as a rule beside the store, where what is applied is written down: a program that starts again is patched again
 * before its connections wake.
 *
 * @example
 * ```ts ignore
 * import { offerPatches, PatchFolder } from "@torpor/torpor/patching/mod.ts";
 * const patches = await PatchFolder.open("./connections/patches"); // after the modules, before the host
 * offerPatches(patches); // torpor patch apply ./connections FILE
 * ```
 */
export class PatchFolder {
  /** Its path. */
  readonly path: string;
  /** What became of the patches that were there. */
  readonly restored: readonly RestoredPatch[];
  readonly #options: ApplyOptions;
  readonly #patches: LivePatches;
  /** The files of the patches that are applied, oldest first. */
  readonly #files: string[];

  private constructor(
    path: string,
    options: ApplyOptions,
    patches: LivePatches,
    files: string[],
    restored: readonly RestoredPatch[],
  ) {
    this.path = path;
    this.restored = restored;
    this.#options = options;
    this.#patches = patches;
    this.#files = files;
  }

  /**
   * Opens the folder, and applies what is written down there, in its order. The modules must be loaded.
   *
   * @throws {PatchError} When one of the patches does not fit: what was applied before it stays.
   * @throws {ImageError} When one is damaged.
   */
  static async open(
    path: string,
    options: ApplyOptions = {},
    patches: LivePatches = livePatches,
  ): Promise<PatchFolder> {
    await mkdir(path, { recursive: true });
    const names = (await readdir(path)).filter((name) => FILE.test(name)).sort();
    const restored: RestoredPatch[] = [];
    const files: string[] = [];
    const written = await Promise.all(names.map(async (name) => ({
      name,
      patch: readPatch(new Uint8Array(await readFile(join(path, name)))),
    })));
    // A source that has one has those before it.
    const included = written.findLastIndex(({ patch }) => isIncluded(patch, patches));
    for (const [index, { name, patch }] of written.entries()) {
      if (index <= included) {
        await unlink(join(path, name));
        restored.push({ name: patch.name, became: "included" });
        continue;
      }
      await patches.apply(patch, options);
      files.push(name);
      restored.push({ name: patch.name, became: "applied" });
    }
    return new PatchFolder(path, options, patches, files, restored);
  }

  /** As `LivePatches.apply`; it is written down, durably, before this resolves. */
  async apply(patch: Patch | Uint8Array, options: ApplyOptions = {}): Promise<AppliedPatch> {
    const read = patch instanceof Uint8Array ? readPatch(patch) : patch;
    const last = this.#files.at(-1);
    const name = `${String(last === undefined ? 1 : Number(FILE.exec(last)![1]) + 1).padStart(6, "0")}.patch`;
    const record = async (): Promise<void> => {
      await options.record?.();
      await writeDurably(this.path, name, writePatch(read));
    };
    const applied = await this.#patches.apply(read, { ...this.#options, ...options, record });
    this.#files.push(name);
    return applied;
  }

  /** As `LivePatches.rollback`; it is written down no more when this resolves. */
  async rollback(name?: string): Promise<Patch> {
    const record = async (): Promise<void> => {
      const file = this.#files.pop();
      if (file === undefined) return;
      await unlink(join(this.path, file));
      await syncFolder(this.path);
    };
    const { patienceMs } = this.#options;
    return await this.#patches.rollback(name, {
      record,
      ...(patienceMs === undefined ? {} : { patienceMs }),
    });
  }

  /** What is applied, oldest first. */
  get applied(): readonly AppliedPatch[] {
    return this.#patches.applied;
  }

  /** The modules that can be patched. */
  get modules(): LivePatches["modules"] {
    return this.#patches.modules;
  }
}

/** A patch out of a file. @throws {ImageError} @throws {PatchError} `record`, when the file cannot be read. */
export async function readPatchFile(path: string): Promise<Patch> {
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await readFile(path));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PatchError("record", `Cannot read "${path}": ${why}`, { cause });
  }
  return readPatch(bytes);
}

/** Whether the modules run, from their source on, what the patch would make of them. */
function isIncluded({ units, wasm }: Patch, patches: LivePatches): boolean {
  return [...units, ...wasm].every(({ module, result }) =>
    patches.modules.some(({ name, hash }) =>
      (name === module || name.endsWith(`/${module}`)) && hash === result
    )
  );
}

async function writeDurably(folder: string, name: string, bytes: Uint8Array): Promise<void> {
  const temporary = join(folder, `${randomUUID()}.tmp`);
  const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await rename(temporary, join(folder, name));
  } catch (cause) {
    await unlink(temporary);
    throw new PatchError("record", `Cannot write "${name}" in "${folder}"`, { cause });
  }
  await syncFolder(folder);
}

async function syncFolder(folder: string): Promise<void> {
  const directory = await open(folder, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
