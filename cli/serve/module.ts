import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type Served, servedAs } from "../../serve/served.ts";
import { InputError } from "../command.ts";

/**
 * Loads the module at `path` and looks at its default export.
 * @throws {InputError} When it cannot be loaded, or exports nothing that can be served.
 */
export async function loadServed(path: string): Promise<Served> {
  let module: { default?: unknown };
  try {
    // A specifier with a beginning is one that packagers leave alone.
    module = await import(`file:///${pathToFileURL(resolve(path)).pathname.slice(1)}`) as {
      default?: unknown;
    };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const typed = /unknown file extension|ERR_UNKNOWN_FILE_EXTENSION/i.test(why)
      ? "; Node 20 reads TypeScript through tsx: node --import tsx"
      : "";
    throw new InputError(`cannot load "${path}": ${why}${typed}`);
  }
  const served = await servedAs(module.default);
  if (served !== undefined) return served;
  throw new InputError(
    `"${path}" has no default export with a method "fetch" (HTTP) or "data" (bytes), and is no function and no server`,
  );
}
