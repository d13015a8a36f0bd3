import { readFileSync, writeFileSync } from "node:fs";
import { basename, relative } from "node:path";
import process from "node:process";
import type { Derived, Finding } from "../../../patching/build/derive.ts";
import type { Patch, PatchUnit } from "../../../patching/image/patch.ts";
import { readPatch, writePatch } from "../../../patching/image/patch_image.ts";
import { signPatch } from "../../../patching/image/sign.ts";
import { PatchError } from "../../../patching/patch_error.ts";
import { buildWasmPatch, type WasmPatchAbout } from "../../../patching/wasm/side_module.ts";
import { readArguments } from "../../arguments.ts";
import { printable } from "../../color.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { readKeys } from "../../patch/keys_file.ts";
import { patchTools } from "../../patch/tools.ts";
import { text, versionsOf } from "../../patch/versions.ts";

const HELP = `\
Builds a patch: of two versions of a module, or of two folders of modules; or
of a source with nothing but what changes, written against the target's own
names. Says of every function what becomes of it, and why it cannot when not.

  torpor patch build OLD NEW --out FILE [options]
  torpor patch build --source PATCH TARGET --out FILE [options]
  torpor patch build --wasm SHARED TARGET --out FILE [options]

  --out FILE          where the patch goes
  --source PATCH      a module with functions, methods and new declarations
  --wasm SHARED       a shared object of WebAssembly, as wasm-ld -shared writes
                      it, whose functions take the place of the target's
  --on PATCH          a patch that is applied before; again for more (--wasm)
  --module NAME       what the running program calls the module: the end of its
                      path; the file's name when left out
  --name NAME         what the patch is called; of the file when left out
  --version VERSION   the patch's own version; 1 when left out
  --description TEXT  what it is for
  --safe FUNCTION     may be replaced while calls of it are under way, which
                      end on the old code; again for more
  --key FILE          signs it with keys of torpor patch keys
  --json              { ok, findings: [{ module, what, verdict, why }] }
  --help              print this

  torpor patch build v1/rooms.ts v2/rooms.ts --out louder.patch
  torpor patch build --source fix.ts src/rooms.ts --out fix.patch

Exit codes: 0 built, 1 something cannot be patched, 2 a file cannot be read or
the command line is wrong.
`;

/** `torpor patch build`. */
export const patchBuild: Command = {
  name: "build",
  summary: "builds a patch of two versions, or of a patch source",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals, values } = readArguments(args, {
      out: { type: "string" },
      source: { type: "string" },
      wasm: { type: "string" },
      on: { type: "string", multiple: true },
      module: { type: "string" },
      name: { type: "string" },
      version: { type: "string" },
      description: { type: "string" },
      safe: { type: "string", multiple: true },
      key: { type: "string" },
    });
    const { out, source } = values;
    if (out === undefined) throw new UsageError("where to? --out FILE");
    const expected = source === undefined && values.wasm === undefined ? 2 : 1;
    if (positionals.length !== expected) {
      throw new UsageError(
        source === undefined ? "which two versions? OLD NEW" : "which target? --source PATCH TARGET",
      );
    }
    const about = {
      name: values.name ?? out.replace(/^.*[\\/]/, "").replace(/\.\w+$/, ""),
      version: values.version ?? "1",
      description: values.description ?? "",
    };
    if (values.wasm !== undefined) {
      return await buildWasm(terminal, json, { shared: values.wasm, target: positionals[0]!, out }, {
        ...about,
        module: values.module ?? basename(positionals[0]!),
        on: (values.on ?? []).map((path) => readPatch(new Uint8Array(readFileSync(path)))),
        ...(values.key === undefined ? {} : { key: values.key }),
      });
    }
    const tools = await patchTools();
    const safe = values.safe ?? [];
    const [first, second] = positionals as [string, string];
    const built: { module: string; derived: Derived }[] = source === undefined
      ? versionsOf(first, second, values.module).map(({ module, older, newer }) => ({
        module,
        derived: tools.derivePatch(module, older, newer, about),
      }))
      : [values.module ?? relative(process.cwd(), first)].map((module) => ({
        module,
        derived: tools.patchFromSource(module, text(first), text(source), about),
      }));
    const findings = built.flatMap(({ module, derived }) =>
      derived.findings.map((finding) => ({ module, ...finding }))
    );
    const units = built.flatMap(({ derived }) => derived.patch?.units ?? []);
    findings.push(...unknownSafe(units, safe));
    const refused = findings.some(({ verdict }) => verdict === "refused");
    const ok = !refused && units.length > 0;
    if (ok) {
      const patch: Patch = { target: "js", ...about, safe, units, wasm: [] };
      const bytes = writePatch(
        values.key === undefined ? patch : await signPatch(patch, readKeys(values.key)),
      );
      writeFileSync(out, bytes);
      tell(terminal, json, { ok, findings, bytes: bytes.length }, `${out}: ${bytes.length} bytes`);
    } else {
      tell(terminal, json, { ok, findings }, refused ? "no patch" : "nothing has changed: no patch");
    }
    return ok ? 0 : EXIT_REFUSED;
  },
};

const EXIT_REFUSED = 1;

async function buildWasm(
  terminal: Terminal,
  json: boolean,
  files: { readonly shared: string; readonly target: string; readonly out: string },
  { module, key, ...about }: WasmPatchAbout & { readonly module: string; readonly key?: string },
): Promise<number> {
  const [target, shared] = [files.target, files.shared].map((path) => new Uint8Array(readFileSync(path)));
  try {
    const patch = await buildWasmPatch(module, target!, shared!, about);
    const bytes = writePatch(key === undefined ? patch : await signPatch(patch, readKeys(key)));
    writeFileSync(files.out, bytes);
    const findings = patch.wasm.flatMap(({ functions }) =>
      functions.map(({ name, type }): ModuleFinding => ({
        module,
        what: name,
        verdict: "replaced",
        why: type,
      }))
    );
    tell(terminal, json, { ok: true, findings, bytes: bytes.length }, `${files.out}: ${bytes.length} bytes`);
    return 0;
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    const { message, function: what = module } = error;
    const findings: ModuleFinding[] = [{ module, what, verdict: "refused", why: message }];
    tell(terminal, json, { ok: false, findings }, "no patch");
    return EXIT_REFUSED;
  }
}

interface ModuleFinding extends Finding {
  readonly module: string;
}

function unknownSafe(units: readonly PatchUnit[], safe: readonly string[]): ModuleFinding[] {
  const replaced = new Set(units.flatMap(({ functions }) => functions.map(({ id }) => id)));
  return safe.filter((id) => !replaced.has(id)).map((what) => ({
    ...{ module: "", what, verdict: "refused" as const },
    why: "it is called safe, and is not replaced",
  }));
}

function tell(
  terminal: Terminal,
  json: boolean,
  result: { ok: boolean; findings: readonly ModuleFinding[]; bytes?: number },
  last: string,
): void {
  if (json) return void terminal.out(`${JSON.stringify(result)}\n`);
  for (const { module, what, verdict, why } of result.findings) {
    terminal.out(printable(`${verdict.padEnd(9)}${module}: ${what}${why === "" ? "" : `: ${why}`}\n`));
  }
  terminal.out(`${last}\n`);
}
