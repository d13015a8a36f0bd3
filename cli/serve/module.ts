import { createServer, type RequestListener } from "node:http";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Handlers } from "../../net/socket/handlers.ts";
import type { NodeServer, StackSocket } from "../../net/socket/stack_socket.ts";
import type { HttpHandlers } from "../../serve/http/http_engine.ts";
import { InputError } from "../command.ts";

/** A program written for Node's sockets. */
export type NodeProgram = NodeServer | ((socket: StackSocket) => void);

/**
 * What a module that is served says: HTTP's handlers, `fetch` before all; `data` and others for bytes; or a program written
 * for Node's sockets.
 */
export type Served =
  | { readonly http: HttpHandlers<unknown> }
  | { readonly bytes: Handlers }
  | { readonly node: NodeProgram };

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
  const program = await nodeProgram(served);
  if (program !== undefined) return { node: program };
  if (typeof served === "function") return { http: { fetch: served as HttpHandlers<unknown>["fetch"] } };
  if (typeof served === "object" && served !== null) {
    const handlers = bound(served as Record<string, unknown>);
    if (typeof handlers["fetch"] === "function") {
      return { http: handlers as unknown as HttpHandlers<unknown> };
    }
    if (typeof handlers["data"] === "function") return { bytes: handlers as unknown as Handlers };
  }
  throw new InputError(
    `"${path}" has no default export with a method "fetch" (HTTP) or "data" (bytes), and is no function and no server`,
  );
}

/** What frameworks make: a server of Node's, an application that can make one, a broker that takes sockets. */
interface Application {
  emit?: unknown;
  listen?: unknown;
  handle?: unknown;
  fetch?: unknown;
  ready?: unknown;
  server?: { emit?: unknown };
}

async function nodeProgram(served: unknown): Promise<NodeProgram | undefined> {
  if (served === null || !["object", "function"].includes(typeof served)) return undefined;
  const { emit, listen, handle, ready, server, fetch } = served as Application;
  if (typeof served === "function") { // express and its kin: a listener of requests that could listen by itself
    return typeof listen === "function" ? createServer(served as RequestListener) : undefined;
  }
  if (typeof fetch === "function") return undefined;
  if (typeof ready === "function" && typeof server?.emit === "function") { // fastify
    await (served as { ready(): Promise<unknown> }).ready();
    return server as NodeServer;
  }
  if (typeof handle === "function") { // aedes
    return (socket) => void (served as { handle(socket: StackSocket): void }).handle(socket);
  }
  return typeof emit === "function" && typeof listen === "function" ? served as NodeServer : undefined;
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
