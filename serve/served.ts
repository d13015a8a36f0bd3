import { createServer, type RequestListener } from "node:http";
import type { Handlers } from "../net/socket/handlers.ts";
import type { NodeServer, StackSocket } from "../net/socket/stack_socket.ts";
import type { HttpHandlers } from "./http/http_engine.ts";

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
 * What a module's default export is served as: a function, an object with `fetch` or `data`, or what frameworks make.
 * Undefined for another.
 */
export async function servedAs(exported: unknown): Promise<Served | undefined> {
  const program = await nodeProgram(exported);
  if (program !== undefined) return { node: program };
  if (typeof exported === "function") return { http: { fetch: exported as HttpHandlers<unknown>["fetch"] } };
  if (typeof exported !== "object" || exported === null) return undefined;
  const handlers = bound(exported as Record<string, unknown>);
  if (typeof handlers["fetch"] === "function") return { http: handlers as unknown as HttpHandlers<unknown> };
  if (typeof handlers["data"] === "function") return { bytes: handlers as unknown as Handlers };
  return undefined;
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
