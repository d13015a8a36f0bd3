import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Handlers } from "../../net/socket/handlers.ts";
import type { HttpHandlers } from "../../serve/http/http_engine.ts";
import { InputError } from "../command.ts";

/** What a module that is served says: HTTP's handlers, `fetch` before all, or `data` and others for bytes. */
export type Served = { readonly http: HttpHandlers<unknown> } | { readonly bytes: Handlers };

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
  const served = module.default;
  if (typeof served === "function") return { http: { fetch: served as HttpHandlers<unknown>["fetch"] } };
  if (typeof served === "object" && served !== null) {
    const handlers = bound(served as Record<string, unknown>);
    if (typeof handlers["fetch"] === "function") {
      return { http: handlers as unknown as HttpHandlers<unknown> };
    }
    if (typeof handlers["data"] === "function") return { bytes: handlers as unknown as Handlers };
  }
  throw new InputError(
    `"${path}" has no default export with a method "fetch" (HTTP) or "data" (bytes), and is no function`,
  );
}

/** An object's members, and its class's methods, whose `this` it is. */
function bound(object: Record<string, unknown>): Record<string, unknown> {
  const names = new Set(Object.keys(object));
  for (
    let at = Object.getPrototypeOf(object);
    at !== null && at !== Object.prototype;
    at = Object.getPrototypeOf(at)
  ) {
    for (const name of Object.getOwnPropertyNames(at)) if (name !== "constructor") names.add(name);
  }
  return Object.fromEntries([...names].map((name) => {
    const value = object[name];
    return [name, typeof value === "function" ? value.bind(object) : value];
  }));
}
